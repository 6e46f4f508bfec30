"""Models on running lines."""

import asyncio
import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, models_app, read_plant, wide_console

if TYPE_CHECKING:
    from rich.console import Console

    from neverblink.events import Slot
    from neverblink.model_registry.changes import Stamp
    from neverblink.model_registry.golden_gate import Judge, Judged
    from neverblink.model_registry.registry import Changed
    from neverblink.model_registry.what_scores import Row
    from neverblink.plant import Plant

LINES = Annotated[list[str] | None, typer.Option("--line", help="All stations of a line; may be given again.")]
STATIONS = Annotated[list[str] | None, typer.Option("--station", help="LINE/STATION; may be given again.")]
PRODUCT = Annotated[str | None, typer.Option("--product", help="All stations that inspect it.")]
_THRESHOLD = Annotated[
    float | None, typer.Option(min=1e-6, help="Score above which a part is rejected. Default: the artifact's own.")
]
BY = Annotated[str | None, typer.Option("--by", help="Who changes it. Default: the user of this machine.")]
WHY = Annotated[str | None, typer.Option("--why", help="Why, for those who look later.")]
_FORCE = Annotated[
    bool,
    typer.Option(
        "--force", help="Even if its retraining or the golden set refused it; needs --why, and stays on record."
    ),
]


@models_app.command("show")
def models_show(
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    seen: Annotated[
        float, typer.Option(min=0, max=3600, help="Compare with the verdicts of so many seconds; 0 does not.")
    ] = 30.0,
    history: Annotated[
        bool, typer.Option("--history", help="Earlier changes too, as far as the topic still holds them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print what is active and in shadow where, since when, by whom and why, and whether scorers score with it."""
    import orjson

    described = read_plant(plant)
    from neverblink.model_registry.changes import Which
    from neverblink.model_registry.what_scores import what_scores

    which = Which(line or (), station or (), product)
    rows = asyncio.run(what_scores(described, which, seen_s=seen, history=history))
    console = wide_console()
    if as_json:
        console.print_json(orjson.dumps([row.as_dict() for row in rows]).decode())
    else:
        tell_rows(rows, seen, console)


@models_app.command("activate")
def models_activate(
    artifact: Annotated[
        str, typer.Argument(help="Artifact folder, its name under storage.artifacts, or its URL in the store.")
    ],
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    threshold: _THRESHOLD = None,
    by: BY = None,
    why: WHY = None,
    force: _FORCE = False,
) -> None:
    """Let a model score, from the next frame on that a scorer takes once it has opened it; no frame is lost.

    `neverblink models activate pcb-4 --product pcb --why "four weeks of confirmed normals"`

    The artifact is verified first, and judges the product's golden set where there is one. One that lies outside
    storage.artifacts is copied to storage.artifact_store.
    """
    described = read_plant(plant)
    from neverblink.model_registry import registry
    from neverblink.model_registry.changes import Which

    which = Which(line or (), station or (), product)
    stamp, console = stamp_of(by, why), wide_console()
    with judging(described, stamp, console) as judge:
        change = registry.activate(described, which, artifact, threshold, stamp, force=force, judge=judge)
        changed = asyncio.run(change)
    tell_change(changed, console)


@models_app.command("shadow")
def models_shadow(
    artifact: Annotated[
        str | None, typer.Argument(help="Artifact folder, its name under storage.artifacts, or its URL in the store.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No model in shadow any more.")] = False,
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    threshold: _THRESHOLD = None,
    by: BY = None,
    why: WHY = None,
) -> None:
    """Let a model score the same frames without acting, onto the topic of shadow verdicts."""
    if (artifact is None) is not off:
        raise typer.BadParameter("name an artifact, or --off, and not both")
    described = read_plant(plant)
    from neverblink.model_registry import registry
    from neverblink.model_registry.changes import Which

    which = Which(line or (), station or (), product)
    change = registry.shadow(described, which, artifact, threshold, stamp_of(by, why))
    tell_change(asyncio.run(change), wide_console())


@models_app.command("threshold")
def models_threshold(
    threshold: Annotated[
        float | None, typer.Argument(min=1e-6, help="Score above which a part is rejected.", show_default=False)
    ] = None,
    own: Annotated[bool, typer.Option("--own", help="The artifact's own again.")] = False,
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    by: BY = None,
    why: WHY = None,
    force: _FORCE = False,
) -> None:
    """Edit the threshold of the active model. Its promise no longer holds: `neverblink calibrate` tells another."""
    if (threshold is None) is not own:
        raise typer.BadParameter("name a threshold, or --own, and not both")
    described = read_plant(plant)
    from neverblink.model_registry import registry
    from neverblink.model_registry.changes import Which

    which = Which(line or (), station or (), product)
    stamp, console = stamp_of(by, why), wide_console()
    with judging(described, stamp, console) as judge:
        changed = asyncio.run(registry.edit_threshold(described, which, threshold, stamp, force=force, judge=judge))
    tell_change(changed, console)


@models_app.command("promote")
def models_promote(
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    by: BY = None,
    why: WHY = None,
    force: _FORCE = False,
) -> None:
    """Let the model in shadow score. Scorers have it open already: it takes over within a second or so."""
    described = read_plant(plant)
    from neverblink.model_registry import registry
    from neverblink.model_registry.changes import Which

    which = Which(line or (), station or (), product)
    stamp, console = stamp_of(by, why), wide_console()
    with judging(described, stamp, console) as judge:
        changed = asyncio.run(registry.promote(described, which, stamp, force=force, judge=judge))
    tell_change(changed, console)


@models_app.command("rollback")
def models_rollback(
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    by: BY = None,
    why: WHY = None,
    force: _FORCE = False,
) -> None:
    """Restore models, shadow and threshold as they were before the last change; a second time undoes the first."""
    described = read_plant(plant)
    from neverblink.model_registry import registry
    from neverblink.model_registry.changes import Which

    which = Which(line or (), station or (), product)
    stamp, console = stamp_of(by, why), wide_console()
    with judging(described, stamp, console) as judge:
        changed = asyncio.run(registry.roll_back(described, which, stamp, force=force, judge=judge))
    tell_change(changed, console)


@contextmanager
def judging(plant: "Plant", stamp: "Stamp", console: "Console") -> "Iterator[Judge]":
    """Give what lets a model judge its golden set before it scores, with a bar; nothing heavy is loaded before."""
    from neverblink.job_life.terminal import progress_bar

    with progress_bar(console, "qualify") as progress:

        def judge(product: str, slot: "Slot") -> "Judged":
            from neverblink.qualification.jobs import judge_of

            return judge_of(plant, stamp.by, progress)(product, slot)

        yield judge


def stamp_of(by: str | None, why: str | None) -> "Stamp":
    """Return who changes models, why, and that it is now."""
    from neverblink.model_registry.changes import Stamp

    try:
        return Stamp(by or getpass.getuser(), why, datetime.now(UTC))
    except (KeyError, OSError) as error:
        raise typer.BadParameter("this machine does not know who you are: name yourself with --by") from error


def tell_change(changed: "Changed", console: "Console") -> None:
    """Print the stations' new state, and what a person should know about it."""
    from neverblink.job_life.terminal import shown
    from neverblink.model_registry.what_scores import described

    for note in changed.notes:
        console.print(shown(f"note: {note}"))
    for event in changed.events:
        console.print(shown(described(event)))
    console.print("scorers open it while the old model scores on; `neverblink models show` says what scores")


def tell_rows(rows: Sequence["Row"], seen_s: float, console: "Console") -> None:
    """Print what scores where."""
    from rich.table import Table

    from neverblink.job_life.terminal import shown
    from neverblink.model_registry.what_scores import short

    table = Table("station", "slot", "model", "digest", "threshold", "by", "at", "why", f"last {seen_s:g} s")
    with_golden = any(row.golden is not None for row in rows)
    if with_golden:
        table.add_column("golden set")
    for row in rows:
        at = "" if row.at is None else row.at.astimezone().strftime("%Y-%m-%d %H:%M")
        threshold = "its own" if row.threshold is None else f"{row.threshold:.4g}"
        cells = (row.station, row.slot, row.model, short(row.digest), threshold, row.by, at, row.why or "")
        golden = (shown(row.golden or ""),) if with_golden else ()
        table.add_row(*map(shown, cells), row.scores or "", *golden)
    console.print(table)
