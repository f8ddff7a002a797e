"""HTTP: access control, listening, and the API."""
