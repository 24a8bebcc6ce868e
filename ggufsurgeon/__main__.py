"""`python -m ggufsurgeon`."""

from ggufsurgeon.cli.app import main

if __name__ == "__main__":
    main()
