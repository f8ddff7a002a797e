"""Checks with pip's resolver that Windows gets binary wheels for everything, on each supported Python.

.venv/bin/python scripts/check_wheels.py [--python 3.12] [FILE ...]      FILE in requirements/, default runtime.txt

Two or three queries to the package index for each Python; nothing is installed:

* resolved: pip resolves the files at the versions of requirements/lock.txt, with torch and torchvision as each build of
  the Windows installation pins them, from win_amd64 wheels only. CUDA builds are on an index of their own; the same
  versions on the package index stand in for them, because their dependencies are the same.
* pinned: each version of the lock for Windows has a wheel, including the lock's torch and torchvision.

pip evaluates markers (`sys_platform == "win32"`) and `Requires-Python` for the running system and Python, ignoring
--platform and --python-version; so it runs here with the marker values of Windows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from environment import NEWEST, OLDEST, REQUIREMENTS, escape_output
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
from windows.builds import BUILDS, CHOICES
from windows.requirement_files import requirement_lines, without

PYTHONS = tuple(f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1))
AS_ON_WINDOWS = """
import json, sys
from pip._vendor.packaging import markers
from pip._internal.cli.req_command import RequirementCommand
from pip._internal.cli.main import main
answers = json.loads(sys.argv.pop(1))
version = tuple(map(int, answers["python_full_version"].split(".")))
markers.default_environment = lambda: dict(answers)
resolver = RequirementCommand.make_resolver
RequirementCommand.make_resolver = lambda self, *args, **more: resolver(*args, **{**more, "py_version_info": version})
sys.exit(main(sys.argv[1:]))
"""


def answers(python: str) -> dict[str, str]:
    """Return the marker values of a Python on 64-bit Windows."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_release": "10",
        "platform_system": "Windows",
        "platform_version": "10.0.22631",
        "platform_python_implementation": "CPython",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "win32",
    }


def pins(python: str) -> list[str]:
    """Return the locked versions for this Python on Windows, without markers."""
    lines = map(Requirement, requirement_lines(REQUIREMENTS / "lock.txt"))
    meant = [line for line in lines if line.marker is None or line.marker.evaluate(answers(python))]
    return [f"{line.name}{line.specifier}" for line in meant]


def held(python: str) -> list[list[str]]:
    """Return torch and torchvision as the builds for Windows pin them, once per version that has this Python."""
    version = tuple(map(int, python.split(".")))
    builds = [BUILDS[tag] for tag in CHOICES if tag != "auto" and BUILDS[tag].has_python(version)]
    pins = dict.fromkeys(tuple(package.partition("+")[0] for package in build.packages) for build in builds)
    return [list(pair) for pair in pins]


def ask(python: str, wanted: Sequence[str], *arguments: str, constraints: Sequence[str] = ()) -> tuple[list[str], str]:
    """Return what pip would install on Windows as "name version", or nothing and pip's errors."""
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in (("wanted.txt", wanted), ("constraints.txt", constraints)):
            (Path(folder) / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        pip = ["install", "--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        target = ["--target", folder, "--only-binary=:all:", "--platform", "win_amd64", "--python-version", python]
        files = ["-r", f"{folder}/wanted.txt", "-c", f"{folder}/constraints.txt", "--report", f"{folder}/report.json"]
        command = [sys.executable, "-I", "-c", AS_ON_WINDOWS, json.dumps(answers(python)), *pip, *target, *files]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return [], "\n".join(line for line in done.stderr.splitlines() if line.strip())
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    found = [(one["metadata"], one["download_info"]["url"]) for one in report["install"]]
    assert all(url.endswith(".whl") for _, url in found)
    return sorted(f"{metadata['name']} {metadata['version']}" for metadata, _ in found), ""


def check(python: str, files: Sequence[str]) -> bool:
    """Run and print the queries for one Python. Return True if everything is available."""
    locked = pins(python)
    others = [line for line in locked if canonicalize_name(line.partition("==")[0]) not in ("torch", "torchvision")]
    wanted = [line for name in files for line in without(requirement_lines(REQUIREMENTS / name)) if " @ " not in line]
    good = True
    for title, (found, problem) in (
        *((f"resolved with {torch[0]}", ask(python, wanted, constraints=[*others, *torch])) for torch in held(python)),
        ("pinned", ask(python, locked, "--no-deps")),
    ):
        print(f"Python {python}, {title}: {f'{len(found)} wheels' if found else 'FAILED'}", flush=True)
        if problem:
            print(problem)
        good = good and bool(found)
    return good


def main() -> int:
    escape_output()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=["runtime.txt"], metavar="FILE", help="files in requirements/")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this Python; can be repeated")
    arguments = parser.parse_args()
    results = [check(python, arguments.files) for python in arguments.python or PYTHONS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
