"""What makes inference and training fast: folded layers, kernels, attention in blocks."""
