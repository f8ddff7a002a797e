"""Enforce the rules of windows_rules.py also in every Python that the tests start."""

import os

if os.environ.get("WINDOWS_RULES"):
    import windows_rules

    windows_rules.install()
