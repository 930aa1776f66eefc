"""Picture formats: PNG, JPEG, BMP, TIFF, slides, COCO."""
