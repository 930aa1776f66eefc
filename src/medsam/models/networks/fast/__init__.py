"""The same networks rearranged for inference on a CPU."""
