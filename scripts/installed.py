"""Compares requirement files with the installed packages; run by the Python of the environment under test.

Prints one JSON object. `missing`: requirements that are not met, including those of installed packages. `kept`: name
and version of packages that meet a requirement. `broken`: `.dist-info` folders of incomplete packages. Exits with 1 if
this is not an environment, or if its pip is incomplete.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import Distribution
from pathlib import Path

# Every environment has pip, and pip vendors the library that defines these comparisons.
from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.utils import canonicalize_name


def read_requirements(path: Path) -> list[Requirement]:
    """Return the requirements of one file that apply to this machine."""
    lines = (line.split(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    wanted = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]


def installed_packages() -> tuple[dict[str, Distribution], list[Path]]:
    """Return the complete packages by normalized name, and the folders of incomplete ones."""
    whole: dict[str, Distribution] = {}
    broken: list[Path] = []
    for folder in (found for entry in sys.path for found in sorted(Path(entry).glob("*.dist-info"))):
        if folder.name.startswith("~"):
            continue  # pip renames a package to this while replacing it
        if (folder / "RECORD").is_file() and (folder / "INSTALLER").is_file():
            package = Distribution.at(folder)
            whole.setdefault(canonicalize_name(package.metadata["Name"]), package)
        else:
            broken.append(folder)  # pip writes these two files last
    return whole, broken


def dependencies(package: Distribution, extras: set[str]) -> list[Requirement]:
    """Return the requirements of an installed package on this machine, with the given extras."""
    found: list[Requirement] = []
    for line in package.requires or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # old metadata that pip ignores too
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found.append(requirement)
    return found


def compare(wanted: list[Requirement], alone: list[Requirement]) -> dict[str, object]:
    """Return the report for `wanted` with its dependencies, and for `alone` without."""
    whole, broken = installed_packages()
    if "pip" not in whole:
        raise SystemExit("pip is incomplete")
    missing: list[str] = []
    kept: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [(requirement, True) for requirement in wanted] + [(requirement, False) for requirement in alone]
    while queue:
        requirement, follow = queue.pop(0)
        name = canonicalize_name(requirement.name)
        package = whole.get(name)
        if package is None or not requirement.specifier.contains(package.version, prereleases=True):
            missing.append(str(requirement))
            continue
        kept[name] = package.version
        key = (name, frozenset(requirement.extras))
        if follow and key not in seen:
            seen.add(key)
            queue += [(one, True) for one in dependencies(package, requirement.extras)]
    names = {canonicalize_name(Requirement(line).name) for line in missing}
    kept = {name: version for name, version in kept.items() if name not in names}
    return {"missing": sorted(set(missing)), "kept": kept, "broken": [str(folder) for folder in broken]}


def main() -> int:
    if sys.prefix == sys.base_prefix:
        raise SystemExit("this is the system Python; use an environment")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="requirement files, including dependencies")
    parser.add_argument("--alone", nargs="*", type=Path, default=[], help="requirement files, excluding dependencies")
    arguments = parser.parse_args()
    wanted = [one for path in arguments.files for one in read_requirements(path)]
    alone = [one for path in arguments.alone for one in read_requirements(path)]
    print(json.dumps(compare(wanted, alone)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
