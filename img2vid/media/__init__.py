"""Pictures in, videos out: files become numpy arrays here and arrays become files, without torch and without a page."""
