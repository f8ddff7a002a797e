"""Sets up the development environment, then runs lint, format check, type check and tests, in this order.

python3 scripts/test.py                  all tests in parallel and random order, then the browser tests
python3 scripts/test.py --quick          skips tests that start servers, browsers or many processes, train,
                                         run every fast path and memory plan, or make many videos
python3 scripts/test.py [ARGUMENTS]      passes the arguments to pytest, in one process; paths are relative to
                                         the project folder

Stops at the first failure and returns its exit code.
"""

from __future__ import annotations

import os
import subprocess

from environment import PROJECT, TESTS, ensure, guard

BROWSER = "tests/browser"
IN_A_BROWSER = ["-p", "no:randomly", "--durations", "10", BROWSER]
"""Sequential: a page rendered under CPU load loses text typed within milliseconds."""
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
    # Parallel processes with several threads each slow each other down many times. The last variable stops pyright from
    # querying the npm registry for updates at every run.
    surroundings = {"OMP_NUM_THREADS": "1", **os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    # Without bytecode, every process recompiles the program, and pytest rewrites all assertions.
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
