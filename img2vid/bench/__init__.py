"""The benchmark: engines side by side, the floors of the machine, and how cost grows."""
