"""Results as a page and as markdown."""
