"""Dashboard pages: they read the store and pass slow work to the job service. Torch is never imported here."""
