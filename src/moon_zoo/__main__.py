"""``python -m moon_zoo`` is ``moon-zoo``."""

import sys

from moon_zoo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
