"""Training of the small checkpoints: images, scenes made from them, and the training stages."""
