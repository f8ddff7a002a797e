"""Checkpoint files on this machine: what is in them, getting them, checking them, naming them; without torch."""
