"""Pairs of images whose geometry is known, for training and evaluation."""
