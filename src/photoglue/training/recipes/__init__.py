"""How to train: which data, which schedule, which losses."""
