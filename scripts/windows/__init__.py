"""What `install_windows.ps1` and `uninstall_windows.ps1` decide and do; needs nothing but a bare Python 3.10."""
