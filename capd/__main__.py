"""`python -m capd`."""

import sys

from capd.cli import main

if __name__ == "__main__":
    sys.exit(main())
