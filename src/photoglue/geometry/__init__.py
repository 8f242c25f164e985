"""Cameras and what they see: plain geometry, without weights and without images."""
