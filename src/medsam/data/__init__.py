"""From public data sets to a table of training pairs; runs without torch."""
