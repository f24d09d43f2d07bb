"""`python -m capd.archive FD`: the archive process, started by the daemon with a socket to it."""

import sys

from capd.archive.process import main

if __name__ == "__main__":
    main(int(sys.argv[1]))
