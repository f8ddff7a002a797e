"""How the small checkpoints are trained: pictures, scenes made from them, and the stages of training."""
