"""Run `python -m converters`. `converters.cli` describes the command; tests/converters/test_cli.py tests it."""

import sys

from converters.cli import main

if __name__ == "__main__":
    sys.exit(main())
