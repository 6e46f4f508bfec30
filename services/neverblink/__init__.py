"""neverblink: inline visual inspection for factories with many production lines."""

import os

__version__ = "0.1.0"

# OpenMP reads this once, when the first library that uses it is loaded. By default its idle threads spin for some
# milliseconds, on the cores that the network's own threads need next: one image at a time then takes a third longer.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
