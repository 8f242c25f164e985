"""Training pairs: random views of photos, and posed photos with depth."""
