"""How good 3D models are against true poses, ours beside plain COLMAP's."""
