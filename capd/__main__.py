"""`python -m capd`."""

import sys

from capd.entry import main

if __name__ == "__main__":
    sys.exit(main())
