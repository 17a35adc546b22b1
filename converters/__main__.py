"""Run `python -m converters`; the command is described and tested in `converters.cli`."""

import sys

from converters.cli import main

if __name__ == "__main__":
    sys.exit(main())
