"""Networks of Stable Video Diffusion, with attribute names that match the parameter names in checkpoints."""
