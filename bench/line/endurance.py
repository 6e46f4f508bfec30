"""Does every line and every station still serve real parts after half an hour on a machine that is too busy?

Eight simulated PLCs with Basic256Sha256, a bridge with their lines and a camera node with their stations, each a
process, a development broker, and this program as the scorer. Two busy processes run beside them. PLCs are frozen for
0.2 to 5 s two hundred times at random, and every session of bridge and node is cancelled a few times although nobody
has asked, as the OPC UA client's wait does on Python 3.11 when an answer and a time-out meet. Then the last minute is
calm, and in it each line must have parts confirmed by its PLC, and each station must have sent pictures.
"""

import argparse
import asyncio
import multiprocessing
import platform
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

# isort: split
from rigs.accident_floor import TIMING, AccidentFloor, camera, freezes, moments, running
from rigs.plc_floor import Floor

COUNTED_S = 60.0
SAY_EVERY_S = 60.0


def busy() -> None:
    """Take a core."""
    while True:
        sum(range(100_000))


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


async def run(floor: AccidentFloor, seconds: float, calm_s: float, number: int, seed: int) -> dict[str, list[float]]:
    """Freeze PLCs for so long, then be calm; return each service's memory in MiB, once a second."""
    memory: dict[str, list[float]] = {name: [] for name in floor.services}
    began = time.monotonic()
    freezing = asyncio.create_task(floor.freeze(freezes(floor.floor.names, number, seconds - calm_s, seed)))
    said = 0.0
    while (gone := time.monotonic() - began) < seconds or not freezing.done():
        await asyncio.sleep(1)
        for name, service in floor.services.items():
            memory[name].append(service.resident_mib)
        if gone - said >= SAY_EVERY_S:
            said = gone
            say(f"{gone:5.0f} s  {floor.outcomes.total():5} parts told  {floor.frozen:3} freezes  {floor.deaths()}")
    await freezing
    return memory


def table(floor: AccidentFloor, memory: dict[str, list[float]], now: float) -> list[str]:
    """Print what happened; return the faults: what had to be 0 and is not."""
    faults: list[str] = []
    print("\n| line | parts confirmed in the last minute | pictures of its station |\n|---|---|---|")
    for line in floor.floor.names:
        parts, pictures = (floor.serves(name, now - COUNTED_S) for name in (line, camera(line)))
        print(f"| {line} | {parts} | {pictures} |")
        faults += [
            f"{name} serves no parts" for name, served in ((line, parts), (camera(line), pictures)) if not served
        ]
    happened, wanted = floor.accidents(), sum(len(seconds) for seconds in floor.moments.values())
    if len(happened) < wanted:
        faults.append(f"{wanted - len(happened)} accidental cancellations did not come to happen")
    unlogged, missing = floor.unlogged(), floor.missing_tasks()
    faults += [f"no error tells of the cancellation of {session} at {at:g} s" for session, at in unlogged]
    faults += [f"missing: {task}" for task in missing]
    restarts = {process.name: process.restarts for process in (*floor.services.values(), *floor.plcs.values())}
    faults += [f"{name} ended {number} times" for name, number in restarts.items() if number]
    print("\n| | |\n|---|---|")
    print(f"| PLCs frozen | {floor.frozen} |")
    print(f"| sessions cancelled by accident | {len(happened)} |")
    print(f"| of them not logged with a traceback (must be 0) | {len(unlogged)} |")
    for name, (logged, counted) in floor.deaths().items():
        print(f"| unasked ends in the {name}: logged / counted | {logged} / {counted} |")
        if logged != counted:
            faults.append(f"the {name} logged {logged} ends and counted {counted}")
    print(f"| tasks missing (must be 0) | {len(missing)} |")
    print(f"| processes that ended (must be 0) | {sum(restarts.values())} |")
    print(f"| pictures that came to the scorer | {sum(floor.frames.values())} |")
    print(f"| verdicts `unscored` by the stations | {floor.unscored} |")
    for outcome, number in floor.outcomes.most_common():
        print(f"| told: {outcome} | {number} |")
    for action, number in floor.gates.most_common():
        print(f"| gate: {action} | {number} |")
    print(f"| incidents (must be 0) | {floor.incidents} |")
    if floor.incidents:
        faults.append(f"{floor.incidents} incidents")
    for name, seen in memory.items():
        print(f"| memory of the {name}: after a minute / last / most, MiB | {_memory(seen)} |")
    return faults


def _memory(seen: list[float]) -> str:
    first = seen[min(60, len(seen) - 1)]
    return f"{first:.0f} / {seen[-1]:.0f} / {max(seen):.0f}"


async def main() -> None:
    """Run, print; exit 1 when something is not 0 that must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--lines", type=int, default=8)
    parser.add_argument("--freezes", type=int, default=200)
    parser.add_argument("--accidents", type=int, default=3, help="accidental cancellations of each session")
    parser.add_argument("--rate", type=float, default=0.5, help="parts per second of each line")
    parser.add_argument("--busy", type=int, default=2, help="busy processes beside it")
    parser.add_argument("--calm", type=float, default=75.0, help="seconds at the end in which nothing more happens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for logs and truth files, which are deleted otherwise")
    chosen = parser.parse_args()
    wanted = Floor(
        lines=chosen.lines, rate=chosen.rate, seed=chosen.seed, security="Basic256Sha256", networks=False,
        timing=TIMING, payload="jpeg",
    )  # fmt: skip
    seconds = 60 * chosen.minutes
    accidents = moments(wanted.names, chosen.accidents, seconds - chosen.calm, chosen.seed)
    spinning = [multiprocessing.Process(target=busy, daemon=True) for _ in range(chosen.busy)]
    for process in spinning:
        process.start()
    with TemporaryDirectory(prefix="endurance-") as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        async with running(wanted, folder, accidents) as floor:
            memory = await run(floor, seconds, chosen.calm, chosen.freezes, chosen.seed)
            faults = table(floor, memory, time.time())
    for process in spinning:
        process.terminate()
    print(f"\n{seconds:.0f} s, Python {platform.python_version()}")
    for sentence in faults:
        print(f"- {sentence}")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
