"""Modules of `install_windows.ps1` and `uninstall_windows.ps1`; they need only a plain Python 3.10."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # img2vid.hardware needs no installed package
