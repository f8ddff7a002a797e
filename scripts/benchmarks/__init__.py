"""Benchmarks that gave the figures of docs/."""
