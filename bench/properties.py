"""Every property of the tests on examples that nobody chose: rounds of new seeds until the time is over.

`python -m bench.properties --minutes 30` prints each round's seed and result, and ends with 1 at the first failure. Its
example is printed by the test: add it to the property as an @example. `make test` tries the same ones every time.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def _round(seed: int, only: list[str]) -> tuple[int, str]:
    """Run all properties with a seed; return pytest's exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", f"--hypothesis-seed={seed}", *only],
        cwd=_ROOT,
        env=os.environ | {"NEVERBLINK_PROPERTIES": "random"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    """Run rounds until the time is over, or a property fails."""
    parser = argparse.ArgumentParser(prog="python -m bench.properties", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to look (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="the first round's seed, to repeat a run")
    parser.add_argument("only", nargs="*", default=["tests"], help="tests to run (default: all)")
    chosen = parser.parse_args()
    seeds = random.Random(chosen.seed)
    first = chosen.seed if chosen.seed is not None else seeds.randrange(2**32)
    until = time.monotonic() + 60 * chosen.minutes
    rounds = 0
    while time.monotonic() < until:
        seed = (first + rounds) % 2**32
        began = time.monotonic()
        code, output = _round(seed, chosen.only)
        rounds += 1
        said = re.findall(r"\d+ (?:passed|failed|error)[^\n]*", output)
        print(f"seed {seed}: {said[-1] if said else 'no result'} ({time.monotonic() - began:.0f} s)", flush=True)
        if code != 0:
            print(output)
            return 1
    print(f"{rounds} rounds, no property failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
