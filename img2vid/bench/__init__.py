"""Benchmark: comparison of engines, lower bounds of the machine, and growth of cost."""
