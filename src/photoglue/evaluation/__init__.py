"""How good a method is: benchmarks, protocols, and the run that measures."""
