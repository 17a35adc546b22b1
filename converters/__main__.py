"""`python -m converters`: see `converters.cli`."""

import sys

from converters.cli import main

if __name__ == "__main__":
    sys.exit(main())
