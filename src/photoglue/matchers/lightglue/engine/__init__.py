"""The parts that make inference and training fast: folded layers, kernels, attention in blocks."""
