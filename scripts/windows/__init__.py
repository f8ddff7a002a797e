"""Modules of `install_windows.ps1` and `uninstall_windows.ps1`; they need only a plain Python 3.10."""
