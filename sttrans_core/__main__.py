"""`python -m sttrans_core`."""

from sttrans_core.cli import main

if __name__ == "__main__":
    main()
