"""Ways into the compiler: ONNX files, PyTorch modules and exported programs (see `load`)."""
