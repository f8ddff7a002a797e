"""img2vid: image-to-video with Stable Video Diffusion."""

__version__ = "0.1.0"
OLDEST, NEWEST = (3, 10), (3, 14)
"""Oldest and newest supported Python. The scripts and find_python.ps1 read them here."""
SUPPORTED = " to ".join(".".join(map(str, version)) for version in (OLDEST, NEWEST))
