"""Inspecting what is at rest."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from neverblink.cli.application import EXIT_BAD_RESULT, app, wide_console


@app.command()
def inspect(
    images: Annotated[
        Path | None, typer.Argument(help="Folder of images, with its sub-folders.", show_default=False)
    ] = None,
    artifact: Annotated[Path | None, typer.Option(help="Artifact folder.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of this inspection. Default: one of its own below runs/inspect."),
    ] = None,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Inspect frames that Kafka still keeps, from the plant's topic.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="Frames published from then on: 2026-11-01T06:00.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="INSTANT", help="Frames before that. Default: up to the start.")
    ] = None,
    line: Annotated[list[str] | None, typer.Option(help="Only of this line; may be given again.")] = None,
    station: Annotated[
        list[str] | None,
        typer.Option(help="LINE/STATION: only of this one, may be given again; where a folder's images come from."),
    ] = None,
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file: its Kafka, and its rules for the product.")
    ] = None,
    product: Annotated[str | None, typer.Option(help="What is inspected. Default: the artifact's product.")] = None,
    second: Annotated[
        Path | None, typer.Option(metavar="ARTIFACT", help="A stronger artifact that judges doubtful images again.")
    ] = None,
    second_from: Annotated[
        float,
        typer.Option(min=0, max=10, help="From this share of the threshold on, beside all rejected and unsure ones."),
    ] = 0.8,
    aql: Annotated[
        float | None, typer.Option(help="Inspect a sample by ISO 2859-1 with this AQL, percent: 0.65, 1.0, 2.5.")
    ] = None,
    lot_size: Annotated[
        int | None, typer.Option(min=2, help="Parts in the lot. Default: those that there are images of.")
    ] = None,
    level: Annotated[Literal["I", "II", "III"], typer.Option(help="General inspection level.")] = "II",
    tightened: Annotated[
        bool, typer.Option("--tightened", help="Tightened inspection: after 2 of 5 lots in a row were not accepted.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws the sample; the same seed draws the same parts.")] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|verdicts", help="Compare with an earlier inspection's Parquet file, or the plant's verdicts."
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=8, max=16, help="Bits that values of 16-bit pictures use. Default: the plant file's or artifact's."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the artifact was fitted with.")] = None,
    second_weights: Annotated[Path | None, typer.Option(help="Weights file of the second artifact.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    engine: Annotated[
        Literal["auto", "torch", "torch-cuda", "openvino"],
        typer.Option(help="What runs the backbone; auto: torch-cuda on a GPU, openvino on a CPU."),
    ] = "auto",
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Images in one forward pass.")] = 32,
    save_every: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds of work that a kill may cost at most.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Inspect a folder, or frames from Kafka, as the scorer does, without a deadline: rows in Parquet and a report.

    An image that cannot be used is a row without a score. Killed or stopped half way, the same command goes on and
    comes to the same result. Nothing is committed or published on Kafka.

    `neverblink inspect pictures --artifact artifacts/pcb`

    `neverblink inspect pictures --artifact artifacts/pcb --aql 1.0 --lot-size 1000`

    `neverblink inspect --kafka -p plant.yaml --from 2026-11-01T06:00 --line line-1 --artifact artifacts/pcb-2 --against
    verdicts`

    Exit codes: 0 done; 1 the lot is not accepted, or no image has a score; 2 bad input or surroundings; 130 stopped.
    docs/guides/offline-inspection.md has more.
    """
    from neverblink.trainer.datasets.topic_frames import instant
    from neverblink.trainer.inspection_commands import Span, What, run_inspect
    from neverblink.trainer.offline_inspection.settings import InspectSettings, LotSettings, SecondPass

    if artifact is None:
        raise typer.BadParameter("name the model with --artifact FOLDER")
    if (images is None) is not kafka:
        raise typer.BadParameter("name a folder of images, or --kafka for frames, and not both")
    if kafka and (plant is None or since is None):
        raise typer.BadParameter("--kafka needs the --plant file and --from, the instant to begin with")
    if not kafka and (since is not None or until is not None):
        raise typer.BadParameter("--from and --to are for frames: they go with --kafka")
    if aql is None and lot_size is not None:
        raise typer.BadParameter("--lot-size is for a sampling plan: name its --aql too")
    source = images if since is None else Span(instant(since), None if until is None else instant(until))
    assert source is not None
    settings = InspectSettings(
        artifact,
        weights,
        second=None if second is None else SecondPass(second, second_from, second_weights),
        lot=None if aql is None else LotSettings(aql, lot_size, level, "tightened" if tightened else "normal", seed),
        depth=depth,
        device=device,
        engine=engine,
        batch=batch,
        save_every_s=save_every,
    )
    what = What(source, plant, product, line or (), station or (), against)
    if not run_inspect(what, settings, out, as_json, wide_console()):
        raise typer.Exit(EXIT_BAD_RESULT)
