"""From a folder of photos to a 3D model with the place of every camera."""
