"""`python -m img2vid.doctor` also runs where a broken package keeps the command line itself from starting."""

import argparse
import platform
import sys

if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - the rest of img2vid does not even parse there
        sys.exit(f"img2vid runs on Python 3.10 to 3.13, and this is Python {platform.python_version()}; install one.")

    from img2vid.doctor.command import examine

    parser = argparse.ArgumentParser(prog="python -m img2vid.doctor", description="Checks this computer.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    sys.exit(examine(parser.parse_args()))
