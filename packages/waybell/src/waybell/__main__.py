"""`python -m waybell` is the command `waybell`."""

import sys

from waybell._command import main


if __name__ == "__main__":
    sys.exit(main())
