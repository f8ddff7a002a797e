"""The dashboard: pages read the store and draw, and hand everything that takes time to the service; no torch here."""
