"""Checkpoint files on this machine: inspect, download, verify, register and remove; without torch."""
