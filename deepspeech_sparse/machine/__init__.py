"""What computes here: processor, kernels, memory, time, versions."""
