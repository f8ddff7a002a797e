"""Measures what docs/ reports: prints a Markdown table, and writes every figure with --json.

.venv/bin/python scripts/benchmarks NAME [--help] [OPTIONS]
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

NAMES = (
    "api",
    "approximations",
    "defaults",
    "full-size",
    "gallery",
    "memory",
    "operations",
    "page",
    "precision",
    "presets",
    "savings",
    "switching",
)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    name = parser.parse_args(arguments[:1]).name
    from benchmarks.results import report

    module = import_module(f"benchmarks.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(f"benchmarks {name}", description=module.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    module.add_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the machine and all figures to this file")
    given = parser.parse_args(arguments[1:])
    report(module.COLUMNS, module.measure(given), given)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from environment import escape_output

    escape_output()
    main(sys.argv[1:])
