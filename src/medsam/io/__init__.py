"""Files to Image and Mask and back; one module per family of formats, one table by suffix (formats.py)."""
