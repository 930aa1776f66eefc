"""The comparators of the paper: promptable or specialist models that answer the same boxes."""
