"""What a medical image is: values, grid, modality, intensity, boxes and the model frame. NumPy only, no files, no torch."""
