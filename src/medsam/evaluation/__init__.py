"""What a segmentation is worth: Dice, normalized surface distance, tables."""
