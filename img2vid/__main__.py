"""`python -m img2vid` is the command line."""

from img2vid.cli.main import main

if __name__ == "__main__":
    main()
