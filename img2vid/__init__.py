"""img2vid: image-to-video with Stable Video Diffusion."""

__version__ = "0.1.0"
