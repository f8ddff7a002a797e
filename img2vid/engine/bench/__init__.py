"""Torch side of the benchmark: backends, peak rates of the machine, operation counts and memory probes."""
