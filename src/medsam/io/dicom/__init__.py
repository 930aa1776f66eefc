"""DICOM: images, segmentations, structure sets, archives."""
