"""What scores mean: how likely a match, or an overlap, is."""
