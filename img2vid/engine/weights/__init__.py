"""Reading, conversion, sharing and detection of checkpoints."""
