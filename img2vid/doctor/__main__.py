"""`python -m img2vid.doctor`: works even if a broken package prevents the command line from starting."""

import argparse
import platform
import sys

if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - the rest of img2vid cannot be parsed by older versions
        sys.exit(f"img2vid needs Python 3.10 to 3.13, but this is Python {platform.python_version()}.")

    from img2vid.doctor.command import examine

    parser = argparse.ArgumentParser(prog="python -m img2vid.doctor", description="Check this computer.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    sys.exit(examine(parser.parse_args()))
