"""Entry point of `python -m img2vid`: the command line."""

from img2vid.cli.main import main

if __name__ == "__main__":
    main()
