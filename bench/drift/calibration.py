"""Which differences from its calibration images a line is told of after its first shift, over images and seeds.

Simulated lines of ten parts a minute whose scores lie so many standard deviations above the calibration's, or below,
from the first part on; each seed draws the line and the calibration images anew. The baseline in the same table is a
z-test of the medians at three standard errors that takes every part and image for independent, and stands for the
question "does it differ" instead of "does it differ by more than lines do".
"""

import argparse
import math
from itertools import islice

from neverblink.demo.drift.scenarios import Line, calibrated, wrong_from_start
from neverblink.drift.alerts import Signal
from neverblink.drift.history import HOUR_S, Calendar
from neverblink.drift.station_watch import StationWatch

IMAGES = (40, 100, 299, 1000)
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, -0.5, -1.0, -1.5, -2.0, -2.5)
WINDOW_S = 300.0
CALENDAR = Calendar()
QUARTILES_APART = 1.349
MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""Standard deviations between the quartiles of a normal distribution; error of its median over that of its mean."""


def first_shift(by: float, images: int, seed: int, wander: float) -> tuple[bool, bool]:
    """Return whether an alert would be raised, and whether the z-test would raise one."""
    told = calibrated(seed, images)
    if told is None:
        raise ValueError(f"{images} images are no calibration")
    line = Line(wrong_from_start(by), seed, onset_s=0.0, window_s=WINDOW_S, wander=wander)
    # The window after the shift says that it is over.
    windows = list(islice(line.windows(1), round(8 * HOUR_S / WINDOW_S) + 1))
    passed = sum(window.passed for window in windows[:-1])
    watch = StationWatch()
    seen = [observation for window in windows for observation in watch.take(window, CALENDAR, told)]
    (level,) = [observation for observation in seen if observation.signal is Signal.CALIBRATION]
    deviation = (told.quantiles[3] - told.quantiles[1]) / QUARTILES_APART
    error = MEDIAN_ERROR * deviation * math.sqrt(1 / images + 1 / passed)
    return level.level >= 1, abs(level.found - level.expected) > 3 * error


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--wander", type=float, default=1.0, help="how much more than assumed the line wanders")
    given = parser.parse_args()
    print(f"| raised of {given.seeds}, ours / z-test | " + " | ".join(f"{by:+g} σ" for by in SHIFTS) + " |")
    print("|" + "---|" * (len(SHIFTS) + 1))
    for images in IMAGES:
        cells = []
        for by in SHIFTS:
            runs = [first_shift(by, images, seed, given.wander) for seed in range(given.seeds)]
            cells.append(" / ".join(str(sum(raised)) for raised in zip(*runs, strict=True)))
        print(f"| {images} images | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
