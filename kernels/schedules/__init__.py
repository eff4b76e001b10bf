"""TIR schedules for the dense and element-wise kernels that TVM generates."""
