"""Finished videos: entries, studies, measurements, trash, import and export."""
