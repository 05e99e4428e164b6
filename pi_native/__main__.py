"""Run `pi-native` as `python -m pi_native`."""

import sys

from pi_native._cli import main

if __name__ == "__main__":
    sys.exit(main())
