"""Sets up the project's environment if needed, then starts the program; needs only Python.

python3 scripts/run.py                   opens the dashboard in the browser; Ctrl-C stops it
python3 scripts/run.py sample IMAGE      makes a video (see `sample --help`)
python3 scripts/run.py COMMAND ...       any other command of img2vid
python3 scripts/run.py --setup-only      only sets up the environment

The first run installs the packages into `.venv` in the project folder. Later runs install nothing.
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
    # Streamlit finds .streamlit/config.toml next to the page, from any working directory.
    return become([python, "-m", "streamlit", "run", str(PROJECT / "streamlit_app.py")])


if __name__ == "__main__":
    guard(main)
