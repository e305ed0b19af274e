"""Models as ONNX and torch.export files that run without the zoo, checked against the model they came from."""
