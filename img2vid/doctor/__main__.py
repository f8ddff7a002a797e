"""`python -m img2vid.doctor` also runs where a broken package keeps the command line itself from starting."""

import argparse
import sys

from img2vid.doctor.command import examine

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m img2vid.doctor", description="Checks this computer.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    sys.exit(examine(parser.parse_args()))
