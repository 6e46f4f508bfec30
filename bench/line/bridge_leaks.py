"""What a line's session holds after so many verdicts and broken connections: tasks, objects, memory.

The session and a camera's triggers run in this process, the simulated PLC in another one, behind a network that is
reset again and again while parts flow. What is remembered on purpose (4,096 parts) is full half way: all must be
flat from there on.
"""

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

# isort: split
from rigs.plc_endurance import Sample, endure


def show(sample: Sample) -> None:
    """Print one row."""
    print(
        f"| {sample.verdicts} | {sample.reconnects} | {sample.confirmed} | {sample.tasks} | {sample.objects} "
        f"| {sample.resident_mib:.1f} |",
        flush=True,
    )


async def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=10_000)
    parser.add_argument("--reconnects", type=int, default=200)
    parser.add_argument("--rate", type=float, default=60.0, help="parts per second (default: about 3 min)")
    chosen = parser.parse_args()
    print("| verdicts | reconnects | confirmed | tasks | objects | resident MiB |\n|---|---|---|---|---|---|")
    with TemporaryDirectory(prefix="bridge-leaks-") as folder:
        await endure(Path(folder), chosen.verdicts, chosen.reconnects, chosen.rate, 10, show)


if __name__ == "__main__":
    asyncio.run(main())
