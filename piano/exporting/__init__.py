"""Turns a trained model into what other programs play: files for Max, Pure Data and Neutone, ONNX graphs, a page."""
