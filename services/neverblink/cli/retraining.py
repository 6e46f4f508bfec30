"""Models that learn from what people confirmed."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from neverblink.cli.application import DEFAULT_PLANT, EXIT_BAD_RESULT, PLANT, app, wide_console
from neverblink.cli.models import BY, LINES, PRODUCT, STATIONS, WHY, stamp_of


@app.command()
def retrain(
    normals: Annotated[
        Path, typer.Argument(help="Folder of confirmed good parts, with an index that says when each was captured.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the challenger.")],
    champion: Annotated[
        Path | None, typer.Option(help="Artifact folder. Default: what scores the plant's stations now.")
    ] = None,
    defects: Annotated[
        list[Path] | None, typer.Option(help="Folder of known defects, one sub-folder a type; may be given again.")
    ] = None,
    challenge: Annotated[
        list[Path] | None, typer.Option(help="Folder of challenge parts, all defective; may be given again.")
    ] = None,
    weeks: Annotated[float, typer.Option(min=0.01, max=520, help="Only normals of so many weeks count.")] = 4.0,
    until: Annotated[
        str | None, typer.Option("--to", metavar="INSTANT", help="The window's end. Default: the newest image's.")
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=2, help="At most so many normals, drawn evenly over days and shifts.")
    ] = None,
    shifts: Annotated[
        str, typer.Option(help="Hours of local time at which shifts begin; a --plant file states its own.")
    ] = "6,14,22",
    hold_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the normals that both models are tried on.")
    ] = 0.2,
    hold_out_by: Annotated[
        Literal["hash", "time"],
        typer.Option(help="hash: an image stays held out in every retraining; time: the newest are."),
    ] = "hash",
    least: Annotated[int, typer.Option(min=2, help="Refuse to learn from fewer normals.")] = 59,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Insert what the bank lacks for normals that it rejects, without a new fit."),
    ] = False,
    share: Annotated[
        float, typer.Option(min=0.0001, max=1, help="With --correct: at most this share of their patches.")
    ] = 0.05,
    false_reject: Annotated[
        float | None, typer.Option(min=0.0001, max=0.5, help="Promise. Default: the champion's, where possible.")
    ] = None,
    tolerate_old_misses: Annotated[
        bool, typer.Option("--tolerate-old-misses", help="Do not refuse for defects that the champion misses too.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Default: OUT.html. The figures are in FILE.json.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--model-version", help="Default: 1-retrain-20260302 for version 1.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws what is held out and what balances.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the champion was fitted with.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    memory: Annotated[float, typer.Option(min=1.25, help="GiB that the job may hold.")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file: its rules decide, its topics are read.")
    ] = None,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    reviews: Annotated[
        bool, typer.Option("--reviews", help="First bring the folder up to date with the plant's reviews.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Put the challenger in shadow at these stations, if it is promotable.")
    ] = False,
    by: BY = None,
    why: WHY = None,
) -> None:
    """Make a challenger from confirmed good parts of the last weeks and try it against the champion.

    It is refused when a known defect would escape it: `models promote` and `models activate` refuse it then.

    `neverblink retrain confirmed --champion artifacts/pcb --defects known-defects --out artifacts/pcb-5`

    `neverblink retrain confirmed -p plant.yaml --product pcb --reviews --out artifacts/pcb-5 --shadow`

    Exit codes: 0 promotable; 1 refused; 2 bad input or surroundings. docs/guides/retraining.md has more.
    """
    from datetime import datetime

    from neverblink.model_registry.changes import Which
    from neverblink.trainer.datasets.topic_frames import instant
    from neverblink.trainer.retraining.retrain import RetrainSettings
    from neverblink.trainer.retraining.training_window import WindowSettings, shift_hours
    from neverblink.trainer.retraining_commands import Sources, run_retrain

    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    window = WindowSettings(
        days=7 * weeks,
        until=None if until is None else instant(until),
        most=most,
        hold_out=hold_out,
        by=hold_out_by,
        seed=seed,
        shifts=shift_hours(shifts),
        zone=zone,
        least=least,
    )
    settings = RetrainSettings(
        window,
        correct=correct,
        share=share,
        false_reject=false_reject,
        version=version,
        tolerate_old_misses=tolerate_old_misses,
        weights=weights,
        device=device,
        memory_gib=memory,
    )
    which = Which(line or (), station or (), product)
    sources = Sources(normals, defects or (), challenge or (), champion, plant, which, reviews)
    stamp = stamp_of(by, why) if shadow else None
    if not run_retrain(sources, out, settings, wide_console(), report=report, shadow=stamp, as_json=as_json):
        raise typer.Exit(EXIT_BAD_RESULT)


@app.command("keep-reviewed")
def keep_reviewed(
    folder: Annotated[Path, typer.Argument(help="Folder for the images and their index.")],
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATIONS = None,
    product: PRODUCT = None,
    days: Annotated[float, typer.Option(min=0.01, help="Of parts that were captured in so many days.")] = 28.0,
) -> None:
    """Keep the images of reviewed parts for retraining: frames leave Kafka within hours, so run it every hour.

    `neverblink keep-reviewed confirmed --product pcb`

    A later review of the same part changes its row in the folder's index; no image is deleted.
    """
    from neverblink.model_registry.changes import Which
    from neverblink.trainer.retraining_commands import run_keep_reviewed

    run_keep_reviewed(plant, Which(line or (), station or (), product), folder, days, wide_console())
