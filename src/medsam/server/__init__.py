"""The server: projects, the model and the protocols that other viewers speak, over HTTP on this machine."""
