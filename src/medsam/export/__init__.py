"""Models for other runtimes: ONNX and OpenVINO graphs that load_predictor reads again."""
