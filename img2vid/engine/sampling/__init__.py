"""Sampling: discretization, denoiser, guiders, samplers."""
