"""What learns: the loss, the weights that move, one step."""
