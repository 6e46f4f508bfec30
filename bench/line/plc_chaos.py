"""Everything at once between verdicts and gates: does any gate ever take the wrong part, or let a defect through?

Simulated PLCs as a process a line, each behind a network of its own; the bridge as a process that is started again when
it ends; a broker; and this program in the place of cameras and scorer: it hears each trigger from the PLC and publishes
a verdict, 5 % defects, 1 % after the deadline on purpose. Meanwhile PLCs are killed (and begin a new epoch), switched
off and on, loaded anew, stopped, count anew in an epoch that was seen, have their clocks set wrong; their networks are
reset and stalled while the program runs on, the bridge is killed, Kafka is away for 5 s. Operators press reset when
five fail-safe rejects in a row have stopped a line. Afterwards what every gate did is compared with the truth, with the
outcomes on the topic and with what a ledger makes of them.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# isort: split
from neverblink.ledger.writing import keep
from neverblink.plc.contract import PROFILES
from neverblink.records.database import Database
from rigs.plc_audit import CIRCUMSTANCES, Audit, audit, false_escapes
from rigs.plc_faults import IN_PROGRAM, OF_LINE, Fault, do_all, schedule
from rigs.plc_floor import TIMING, Floor, RunningFloor, running

SHOWN = 10
RUNS_LONGER = 1.9
"""Lines stand while their operators come: so much longer than the parts alone would need."""


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


async def run(floor: RunningFloor, parts: int, faults: list[Fault]) -> list[float]:
    """Do all faults, and go on until all parts are made; return the bridge's memory in MiB, once a second."""
    memory: list[float] = []
    began = time.monotonic()

    def told(fault: Fault) -> None:
        done = sum(1 for one in faults if one.ended)
        say(f"{time.monotonic() - began:5.0f} s  {len(floor.scanned):5} parts  {done:3} faults  {fault.kind}")

    await floor.run_conveyors()
    doing = asyncio.create_task(do_all(floor, faults, told))
    while not doing.done() or len(floor.scanned) < parts:
        await asyncio.sleep(1)
        memory.append(floor.bridge.resident_mib)
    await doing
    await floor.finish()
    return memory


def tables(
    found: Audit, faults: list[Fault], lines: list[str], seconds: float, floor: RunningFloor, escapes: int
) -> None:
    """Print what happened."""
    print(f"\n{found.parts} parts, {found.defects} of them defects, {len(faults)} faults, {seconds:.0f} s\n")
    print("| must be 0 | |\n|---|---|")
    print(f"| missed defects passed | {len(found.missed_defects)} |")
    print(f"| wrong parts rejected | {len(found.wrong_rejects)} |")
    print(f"| parts without an outcome event | {len(found.without_outcome)} |")
    print(f"| false escapes in the ledger | {escapes} |")
    print(f"\n{found.incidents} incidents reported by the bridge; {found.not_served} parts of refused counts;", end=" ")
    print(f"{found.silent} passed in silence, {found.silent_defects} of them defects;", end=" ")
    print(f"{found.told_not_good} told as not good")
    print("\n| gate | parts |\n|---|---|")
    for action, number in found.actions.most_common():
        print(f"| {action} | {number} |")
    print("\n| outcome | parts |\n|---|---|")
    for outcome, number in found.outcomes.most_common():
        print(f"| {outcome} | {number} |")
    print(f"| (told again by the next bridge) | {found.told_again} |")
    print(f"| (told otherwise by it) | {found.told_otherwise} |")
    print(f"| (taken off by a PLC's restart before anybody saw it) | {found.unseen} |")
    print(f"| (late on purpose) | {found.late_on_purpose} |")
    print("\n| fault | number | mean s |\n|---|---|---|")
    for kind, number in Counter(fault.kind for fault in faults).most_common():
        mean = sum(fault.ended - fault.began for fault in faults if fault.kind == kind) / number
        print(f"| {kind} | {number} | {mean:.1f} |")
    print(
        "\n| line | circumstance | parts | fail-safe rejects | % | not confirmed | % |\n|---|---|---|---|---|---|---|"
    )
    for line in (*lines, None):
        for circumstance in CIRCUMSTANCES:
            tally = found.sum(circumstance, line)
            percent = [100 * number / max(1, tally.parts) for number in (tally.fail_safe, tally.not_confirmed)]
            print(
                f"| {line or 'all'} | {circumstance} | {tally.parts} | {tally.fail_safe} | {percent[0]:.1f} "
                f"| {tally.not_confirmed} | {percent[1]:.1f} |"
            )
    print(f"\nthe bridge was started {floor.bridge.restarts + 1} times")


def escapes_in_a_ledger(folder: Path, truth: list[dict[str, Any]], floor: RunningFloor) -> int:
    """Keep all events as the ledger does, and return how many parts it says were let by that were not."""
    database = Database(f"sqlite:///{folder / 'ledger.db'}", create=True)
    try:
        keep(database, [*floor.verdicts, *floor.actuations], datetime.now(UTC))
        return false_escapes(truth, floor.scanned, database)
    finally:
        database.close()


async def main() -> None:
    """Run, audit, print; exit 1 when something is that must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, help="default: 1500, with --full 5200")
    parser.add_argument("--faults", type=int, help="default: 40, with --full 100")
    parser.add_argument("--full", action="store_true", help="as long as for a release: about five minutes")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="verdict-table")
    parser.add_argument("--lines", type=int, default=2)
    parser.add_argument("--rate", type=float, default=10.0, help="parts per second of each line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--security", choices=("None", "Basic256Sha256"), default="None")
    parser.add_argument("--kafka", choices=("development", "local"), default="development")
    parser.add_argument("--keep", type=Path, help="folder for logs and truth files, which are deleted otherwise")
    chosen = parser.parse_args()
    parts, number = chosen.parts or (5200 if chosen.full else 1500), chosen.faults or (100 if chosen.full else 40)
    wanted = Floor(
        lines=chosen.lines, rate=chosen.rate, seed=chosen.seed, security=chosen.security, kafka=chosen.kafka,
        profile=chosen.profile,
    )  # fmt: skip
    seconds = RUNS_LONGER * parts / wanted.lines / wanted.rate
    faults = schedule(wanted.names, number, seconds, chosen.seed, (*OF_LINE, *IN_PROGRAM))
    with TemporaryDirectory(prefix="plc-chaos-") as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        async with running(wanted, folder) as floor:
            began = time.monotonic()
            memory = await run(floor, parts, faults)
            seconds = time.monotonic() - began
            truth = floor.truth()
        silent = PROFILES[chosen.profile].silence_passes
        found = audit(truth, floor.scanned, floor.actuations, faults, TIMING.budget_s, silence_passes=silent)
        escapes = escapes_in_a_ledger(folder, truth, floor)
    tables(found, faults, wanted.names, seconds, floor, escapes)
    print(f"its memory: {max(memory):.0f} MiB at most")
    for sentence in found.faults[:SHOWN]:
        print(f"- {sentence}")
    if found.faults or escapes:
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
