"""Matchers: from two images' features to matches."""
