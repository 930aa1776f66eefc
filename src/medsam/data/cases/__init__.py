"""From a card and a folder to the cases of a data set."""
