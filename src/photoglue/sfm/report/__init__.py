"""A 3D model as one page to look at: points and cameras, photos, pairs, the weakest links."""
