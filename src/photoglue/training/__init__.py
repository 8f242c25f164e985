"""Training LightGlue: ground truth, losses, the loop."""
