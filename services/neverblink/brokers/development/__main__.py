"""`python -m neverblink.brokers.development --port 9092`."""

import sys

from neverblink.brokers.development.program import main

if __name__ == "__main__":
    sys.exit(main())
