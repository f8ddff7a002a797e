"""`python -m img2vid.doctor`: works even if a broken package prevents the command line from starting."""

import platform
import sys

import img2vid

if __name__ == "__main__":
    if sys.version_info < img2vid.OLDEST:  # the rest of img2vid cannot be imported by older versions
        sys.exit(f"img2vid needs Python {img2vid.SUPPORTED}, but this is Python {platform.python_version()}.")

    from img2vid.doctor.command import main

    sys.exit(main("python -m img2vid.doctor", sys.argv[1:]))
