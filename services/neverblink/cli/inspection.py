"""Inspecting what is at rest."""

from typing import TYPE_CHECKING

import orjson
from rich.table import Table

from neverblink.cli.application import read_plant
from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.job_life.terminal import shown
from neverblink.trainer.offline_inspection.job_result import InspectResult
from neverblink.trainer.offline_inspection.settings import InspectJob

if TYPE_CHECKING:
    from neverblink.trainer.offline_inspection.job import Inspected
    from neverblink.trainer.offline_inspection.lot_sampling import LotDecision


def _inspect(job: InspectJob, teller: Teller) -> "Inspected":
    from neverblink import telemetry
    from neverblink.trainer.offline_inspection.job import run_inspect

    if job.plant is not None:
        telemetry.trace_job("inspect", read_plant(job.plant).site)
    try:
        return run_inspect(job, teller.progress)
    finally:
        telemetry.flush()


def _show_inspect(_: InspectJob, done: "Inspected", screen: Screen) -> None:
    for note in done.notes:
        screen.say(note)
    if screen.as_json:
        screen.json(orjson.dumps(done.counts()))
        return
    results = done.results
    screen.say(done.subject)
    table = Table("decision", "reason", "images")
    for cause in results.causes:
        table.add_row(cause.decision, shown(cause.reason or "–"), str(cause.images))
    screen.tables(table)
    if done.second is not None:
        screen.say(
            f"{done.second.name} {done.second.version} judged {results.second_judged} images again and"
            f" decided {results.second_overruled} of them otherwise"
        )
    if done.against is not None:
        counted = "".join(f"{count} {change}, " for change, count in results.changes.items() if count)
        screen.say(f"against {done.against}: {counted}{results.without_known} not known before")
    if results.lot is not None:
        _show_lot(results.lot, screen)
    if done.done_before:
        screen.say("this inspection was done before; nothing was inspected again")
    screen.say(f"rows: {done.rows}")
    screen.say(f"report: {done.report}")


def _show_lot(lot: "LotDecision", screen: Screen) -> None:
    from neverblink.trainer.offline_inspection.lot_sampling import CONSUMER_RISK

    plan = lot.plan
    arrow = "" if plan.code == plan.letter else f", the table's arrow leads to {plan.letter}"
    whole = ": the whole lot" if plan.whole_lot else ""
    table = Table("sampling plan", "", title="ISO 2859-1 single sampling")
    for name, value in (
        ("inspection", f"{plan.severity}, general level {plan.level}"),
        ("AQL", f"{plan.aql:g} % nonconforming parts"),
        ("lot", f"{plan.lot} parts, code letter {plan.code}{arrow}"),
        ("sample", f"{plan.sample} parts{whole}; Ac {plan.accept}, Re {plan.reject}"),
        (
            "bad parts",
            f"{lot.nonconforming}: {lot.rejected} rejected, {lot.unscored} without a score (they count as bad)",
        ),
        ("accepted at the AQL", f"{plan.acceptance_probability(plan.aql / 100):.1%} of lots"),
        (
            f"accepted with {CONSUMER_RISK:.0%}",
            f"a process with {plan.quality_accepted_with(CONSUMER_RISK):.2%} bad parts",
        ),
    ):
        table.add_row(name, value)
    screen.tables(table)
    said = "accepted" if lot.accepted else "not accepted"
    screen.console.print(f"the lot is {said}", style="green" if lot.accepted else "red", highlight=False)


command(
    "inspect",
    Job(
        settings=InspectJob, result=InspectResult, work=_inspect, show=_show_inspect,
        told=lambda _, done: done.result(), title=lambda job: job.artifact.name, good=lambda done: done.good,
        stopped="stopped: the same command goes on from here",
        as_json="Print JSON instead of tables.",
    ),
    short="Inspect a folder, or frames from Kafka, as the scorer does.",
    text="""Inspect a folder, or frames from Kafka, as the scorer does, without a deadline: rows in Parquet and a
    report.

    An image that cannot be used is a row without a score. Killed or stopped half way, the same command goes on and
    comes to the same result. Nothing is committed or published on Kafka.

    `neverblink inspect pictures --artifact artifacts/pcb`

    `neverblink inspect pictures --artifact artifacts/pcb --aql 1.0 --lot-size 1000`

    `neverblink inspect --kafka -p plant.yaml --from 2026-11-01T06:00 --line line-1 --artifact artifacts/pcb-2 --against
    verdicts`

    Exit codes: 0 done; 1 the lot is not accepted, or no image has a score; 2 bad input or surroundings; 130 stopped.
    docs/guides/offline-inspection.md has more.
    """,
)  # fmt: skip
