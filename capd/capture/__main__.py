"""`python -m capd.capture FD`: a worker, started by the daemon with a socket to it."""

import sys

from capd.capture.worker import main

if __name__ == "__main__":
    main(int(sys.argv[1]))
