"""Sets up the environment with the tools for development, then runs lint, format check, types and tests, in this order.

python3 scripts/test.py [ARGUMENTS]      the arguments go to pytest; its paths start at the project's folder

Stops at the first of the four that fails, with its exit code.
"""

from __future__ import annotations

import os
import subprocess

from environment import PROJECT, TESTS, ensure, guard


def main(arguments: list[str]) -> int:
    python = str(ensure(*TESTS))
    checks = {
        "ruff check": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "pyright": ["pyright"],
        "pytest": ["pytest", *arguments],
    }
    # Without this, pyright asks the npm registry at every run whether there is a newer one.
    surroundings = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    for name, command in checks.items():
        print(f"== {name}", flush=True)
        code = subprocess.run([python, "-m", *command], cwd=PROJECT, env=surroundings, check=False).returncode
        if code:
            print(f"{name} failed with exit code {code}", flush=True)
            return code
    return 0


if __name__ == "__main__":
    guard(main)
