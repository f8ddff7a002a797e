"""Sets up the project's environment where needed, then starts the program; needs nothing but Python.

python3 scripts/run.py                   opens the dashboard in the browser; Ctrl-C ends it
python3 scripts/run.py sample PICTURE    makes a video (`sample --help` lists the options)
python3 scripts/run.py COMMAND ...       any other command of img2vid
python3 scripts/run.py --setup-only      only sets up

The first start installs the packages into `.venv` in the project's folder. Later starts install nothing.
"""

from __future__ import annotations

from environment import PROJECT, RUNTIME, become, ensure, guard


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    python = str(ensure(*RUNTIME))
    if arguments == ["--setup-only"]:
        return 0
    if arguments:
        return become([python, "-m", "img2vid", *arguments])
    # Streamlit finds .streamlit/config.toml beside the page, wherever it was started from.
    return become([python, "-m", "streamlit", "run", str(PROJECT / "streamlit_app.py")])


if __name__ == "__main__":
    guard(main)
