"""Turns a trained model into what plays without Python: ONNX graphs, and a page for a browser."""
