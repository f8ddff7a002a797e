"""Sets up the environment with the tools for development, then runs lint, format check, types and tests, in this order.

python3 scripts/test.py                  all tests, on all cores and in a random order, then those in a browser
python3 scripts/test.py --quick          without the tests that start servers, browsers or many processes, train,
                                         run every fast path and memory plan, or make many videos
python3 scripts/test.py [ARGUMENTS]      the arguments go to pytest, which then runs in one process; its paths start at
                                         the project's folder

Stops at the first of them that fails, with its exit code.
"""

from __future__ import annotations

import os
import subprocess

from environment import PROJECT, TESTS, ensure, guard

BROWSER = "tests/browser"
IN_A_BROWSER = ["-p", "no:randomly", "--durations", "10", BROWSER]
"""One by one: a page that is drawn while other tests keep the cores busy loses what is typed within milliseconds."""
ON_ALL_CORES = ["--ignore", BROWSER, "-n", "auto", "--maxprocesses", "8", "--dist", "loadfile", "--durations", "10"]
QUICK = "--quick"


def main(arguments: list[str]) -> int:
    python = str(ensure(*TESTS))
    given = [argument for argument in arguments if argument != QUICK]
    quick = QUICK in arguments
    chosen = ["-m", "not slow"] if quick else []
    checks = {
        "ruff check": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "pyright": ["pyright"],
        "pytest": ["pytest", *chosen, *(given or ON_ALL_CORES)],
    }
    if not given and not quick:
        checks["pytest in a browser"] = ["pytest", *IN_A_BROWSER]
    # Tests that run side by side on the same cores take many times as long if each process has threads that wait for
    # each other. Without the last variable, pyright asks the npm registry at every run whether there is a newer one.
    surroundings = {"OMP_NUM_THREADS": "1", **os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    # Without bytecode, every process compiles the program again, and pytest rewrites every test's assertions.
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
    for name, command in checks.items():
        print(f"== {name}", flush=True)
        code = subprocess.run([python, "-m", *command], cwd=PROJECT, env=surroundings, check=False).returncode
        if code:
            print(f"{name} failed with exit code {code}", flush=True)
            return code
    return 0


if __name__ == "__main__":
    guard(main)
