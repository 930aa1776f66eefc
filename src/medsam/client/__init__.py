"""A server of medsam from Python: the calls of the local API, answered elsewhere."""
