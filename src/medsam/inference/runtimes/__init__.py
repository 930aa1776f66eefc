"""What runs the networks: PyTorch, OpenVINO, ONNX Runtime."""
