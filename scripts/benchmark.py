"""Compares the engines on this computer; the same as `img2vid bench`, with the same options.

python scripts/benchmark.py [--size tiny|middle|full] [--json FILE] [--markdown] [--help]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid.cli import main

if __name__ == "__main__":
    sys.exit(main.run(["bench", *sys.argv[1:]]))
