"""Benchmarks that produced the figures in docs/."""
