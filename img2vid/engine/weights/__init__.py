"""Weights: reading, converting, sharing and detecting checkpoints."""
