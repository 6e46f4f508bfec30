"""Everything at once on real Kafka: is every frame answered exactly once, and rightly?

Three Apache Kafka nodes on the local JVM (three copies, two must have every record), two scorers as processes, each
behind a network of its own, stations in pairs on lines. Frames come at a share of what the scorers do at most through
that very cluster, one in a hundred is poison, and meanwhile scorers are killed (and started again at once, as an
orchestrator does) and stopped, nodes are killed and come back, networks are cut, models are swapped: so many faults,
drawn by a seed. Afterwards the topics are read from their beginning and every frame is looked for: the first verdict
of an id stands, as for bridge and ledger, and its score is compared with that of the artifact that it names, which
nothing disturbed. The camera is this program: it sends a frame until it is acknowledged.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import neverblink  # before torch: says how OpenMP waits  # noqa: F401

# isort: split
from neverblink.events import DeadLetter
from neverblink.vision.artifact import load_artifact
from rigs.chaos_audit import Audit, audit
from rigs.chaos_run import KINDS, MODELS, Chaos, Outcome, caused, fit_models, pauses, run

SHOWN = 10


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def by_kind(outcome: Outcome, found: Audit) -> None:
    """Print what each kind of fault did, and of those that were due until the next one the share that was late."""

    def kinds(deadlines: Iterable[datetime]) -> Counter[str | None]:
        return Counter(None if (fault := caused(outcome, one)) is None else fault.kind for one in deadlines)

    calm, waited = pauses(outcome)
    late, due = kinds(one.deadline for one in found.late), kinds(one.deadline for one in outcome.expected)
    print("| fault | times | longest wait of a line for a verdict, median / worst s | parts late |")
    print("|---|---|---|---|")
    print(f"| none yet | | {calm:.1f} | {late[None]} |")
    for kind in KINDS:
        seconds = [wait for fault, wait in waited if fault.kind == kind]
        if seconds:
            share = late[kind] / max(1, due[kind])
            waits = f"{median(seconds):.1f} / {max(seconds):.1f}"
            print(f"| {kind} | {len(seconds)} | {waits} | {late[kind]} of {due[kind]} ({share:.1%}) |")


def totals(outcome: Outcome, found: Audit) -> None:
    """Print what came of the frames."""
    chaos = outcome.chaos
    rows = {
        "frames": found.frames,
        "faults": len(outcome.faults),
        "**frames with exactly one effect**": found.effects,
        "without a verdict": len(found.without),
        "with verdicts of several ids": len(found.doubled),
        "**wrong decisions**": len(found.wrong),
        "passed / rejected": f"{found.passed} / {found.rejected}",
        "late": f"{len(found.late)} ({len(found.late) / max(1, found.frames):.1%})",
        "poison, each with its reason": found.poison,
        "dead letters missing / of good frames": f"{len(found.without_letter)} / {len(found.letters_too_many)}",
        "duplicates that were read": found.duplicates,
        "of them saying otherwise (another model, or late), the first stands": found.changed,
        "of them contradicting the first by the same model": len(found.contradicting),
        "restarts of scorers, of them killed, of them a start that found no broker": (
            f"{outcome.restarts}, {outcome.kills}, {outcome.cut_starts}"
        ),
        "frames whose acknowledgement took more than a second / sends repeated": f"{outcome.slow} / {outcome.retried}",
        "frames/s sent, at most": f"{outcome.rate:.1f}, {outcome.most:.1f}",
        "seconds, then until all was answered": f"{outcome.seconds:.0f}, {outcome.drained_s:.1f}",
    }
    print(
        f"\n{chaos.nodes} nodes, {chaos.stations} stations, seed {chaos.seed}, {chaos.budget_s:g} s for a verdict,"
        f" scorer.standby {chaos.standby}\n"
    )
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def main() -> None:
    """Fit two models, run, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--stations", type=int, default=8, help="an even number: two on each line")
    parser.add_argument("--nodes", type=int, default=3, choices=(1, 3), help="Kafka brokers")
    parser.add_argument("--seed", type=int, default=1, help="of faults and poison")
    parser.add_argument("--load", type=float, default=0.6, help="share of what the scorers can do at most")
    parser.add_argument("--rate", type=float, help="frames/s to send instead")
    parser.add_argument(
        "--budget", type=float, nargs="+", default=[10.0], help="seconds from capture to deadline; several: in turn"
    )
    parser.add_argument(
        "--hedging", nargs="+", choices=("on", "off"), default=["on"], help="scorer.standby all or none; both: in turn"
    )
    parser.add_argument("--saturate", type=int, default=600, help="frames that measure what they can do at most")
    parser.add_argument("--size", type=int, default=256, help="side of what the model sees, pixels")
    parser.add_argument("--keep", type=Path, help="folder for the scorers' logs")
    given = parser.parse_args()
    # The client's own words about brokers that are away, which is what this is about.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    faults: list[str] = []
    with TemporaryDirectory() as place:
        artifacts, truth = fit_models(Path(place), given.size)
        models = [load_artifact(artifacts / name) for name in MODELS]
        thresholds = {model.digest: model.threshold for model in models}
        for number, (hedging, budget) in enumerate(product(given.hedging, given.budget)):
            chaos = Chaos(
                frames=given.frames, faults=given.faults, stations=given.stations, nodes=given.nodes, seed=given.seed,
                rate=given.rate, load=given.load, budget_s=budget, saturate=given.saturate,
                standby="all" if hedging == "on" else "none",
            )  # fmt: skip
            folder = (given.keep or Path(place)) / f"run-{number}"
            folder.mkdir(parents=True)
            began = time.monotonic()
            outcome = asyncio.run(run(chaos, artifacts, folder, say))
            letters = [record.read(DeadLetter)[0] for record in outcome.letters]
            found = audit(outcome.expected, outcome.verdicts, letters, truth, thresholds)
            totals(outcome, found)
            print()
            by_kind(outcome, found)
            print(f"\n{time.monotonic() - began:.0f} s in all", flush=True)
            for sentence in found.faults[:SHOWN]:
                print(f"- {sentence}")
            faults += found.faults
    if faults:
        sys.exit(f"{len(faults)} faults of ours")


if __name__ == "__main__":
    main()
