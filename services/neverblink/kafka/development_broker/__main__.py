"""`python -m neverblink.kafka.development_broker --port 9092`."""

import sys

from neverblink.kafka.development_broker.program import main

if __name__ == "__main__":
    sys.exit(main())
