"""`python -m sttrans_core`."""

from sttrans_core.commands.main import main

if __name__ == "__main__":
    main()
