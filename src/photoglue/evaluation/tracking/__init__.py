"""How good and how fast tracking is on videos whose camera path is known, ours beside its peers."""
