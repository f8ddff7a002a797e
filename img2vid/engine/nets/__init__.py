"""The networks of Stable Video Diffusion, with the attribute names that its checkpoints use as parameter names."""
