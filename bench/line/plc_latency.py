"""From a verdict's publication on Kafka to the PLC's confirmation of the word, with the whole path as processes.

This program hears each trigger from the simulated PLCs, as a camera does, and publishes a verdict soon after; the
bridge's own actuation events say when the PLC confirmed it, and how long before the deadline. Both programs have the
same machine's clock. A percentile without enough parts to stand on is left out.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

# isort: split
from neverblink.events import Outcome
from rigs.plc_floor import Floor, part_of, running

SECONDS = {(1, 10.0): 60.0, (1, 40.0): 30.0, (8, 10.0): 20.0, (8, 40.0): 15.0}
ENOUGH = {50.0: 10, 99.0: 100, 99.9: 1000}
SLACK_MS = (-np.inf, 0, 50, 100, 200, 300, 400, 500, 550, 600, 650, 700, 750, np.inf)
BAR = 50
Broker = Literal["development", "local"]
Security = Literal["None", "Basic256Sha256"]


@dataclass
class Measured:
    """One row. `path_ms` and `slack_ms` are those of confirmed parts."""

    security: str
    lines: int
    rate: float
    parts: int
    path_ms: np.ndarray
    after_kafka_ms: np.ndarray
    slack_ms: np.ndarray

    @property
    def row(self) -> str:
        """Return the table's row."""
        path = " | ".join(_percentile(self.path_ms, share) for share in ENOUGH)
        after = " | ".join(_percentile(self.after_kafka_ms, share) for share in (50.0, 99.0))
        worst = f"{self.path_ms.max():.0f}" if len(self.path_ms) else "–"
        least = f"{self.slack_ms.min():.0f}" if len(self.slack_ms) else "–"
        return (
            f"| {self.security} | {self.lines} | {self.rate:g} | {self.parts} | {self.parts - len(self.path_ms)} "
            f"| {path} | {worst} | {after} | {least} |"
        )


async def measure(security: Security, lines: int, rate: float, seconds: float, kafka: Broker) -> Measured:
    """Run so many lines for so long."""
    wanted = Floor(
        lines=lines, rate=rate, security=security, kafka=kafka, late=0.0, takes=(0.1, 0.2), networks=False, stop_after=0
    )
    with TemporaryDirectory(prefix="plc-latency-") as folder:
        async with running(wanted, Path(folder)) as floor:
            await floor.run_conveyors()
            await asyncio.sleep(seconds)
            await floor.finish()
    path, after, slack = [], [], []
    for event in floor.actuations:
        scanned = floor.scanned.get(part_of(event))
        if event.outcome is Outcome.CONFIRMED and scanned is not None and event.slack_ms is not None:
            at = event.at.timestamp()
            path.append((at - scanned.sent) * 1000)
            after.append((at - scanned.acknowledged) * 1000)
            slack.append(event.slack_ms)
    return Measured(
        security, lines, rate, len(floor.scanned), np.array(path), np.array(after), np.array(slack)
    )  # fmt: skip


def histogram(found: Iterable[Measured]) -> None:
    """Print how much time was left before the deadline."""
    slack = np.concatenate([one.slack_ms for one in found])
    counts = [int(((slack >= low) & (slack < high)).sum()) for low, high in pairwise(SLACK_MS)]
    print("\nLeft before the deadline when the PLC confirmed, all rows together:\n\n```")
    for (low, high), number in zip(pairwise(SLACK_MS), counts, strict=True):
        if number:
            print(f"{low:6.0f} … {high:4.0f} ms {number:7} {'#' * -(-BAR * number // max(counts))}")
    print("```")


def _percentile(values: np.ndarray, share: float) -> str:
    return f"{np.percentile(values, share):.1f}" if len(values) >= ENOUGH[share] else "–"


async def main() -> None:
    """Measure every combination and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", choices=("development", "local"), default="development")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="run each so many times as long (default: about 5 min)"
    )
    parser.add_argument("--lines", type=int, nargs="+", choices=(1, 8), default=[1, 8])
    parser.add_argument("--rate", type=float, nargs="+", choices=(10.0, 40.0), default=[10.0, 40.0])
    parser.add_argument("--security", nargs="+", choices=("None", "Basic256Sha256"), default=["None", "Basic256Sha256"])
    chosen = parser.parse_args()
    found = []
    print(
        "| security | lines | parts/s per line | parts | not confirmed | published → confirmed p50 ms | p99 | p99.9 "
        "| max | acknowledged by Kafka → confirmed p50 | p99 | least slack ms |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for security in chosen.security:
        for lines in chosen.lines:
            for rate in chosen.rate:
                seconds = SECONDS[lines, rate] * chosen.scale
                print(f"{security}, {lines} lines at {rate:g}/s: {seconds:.0f} s", file=sys.stderr)
                found.append(await measure(security, lines, rate, seconds, chosen.kafka))
                print(found[-1].row, flush=True)
    histogram(found)


if __name__ == "__main__":
    asyncio.run(main())
