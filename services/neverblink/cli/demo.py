"""The demonstration."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from neverblink.cli.application import app, wide_console


@app.command(short_help="Run a whole plant on this machine: two lines, their PLCs, every service.")
def demo(
    parts: Annotated[
        int | None,
        typer.Option(min=1, help="End by itself after so many parts (with --images: on each line)."),
    ] = None,
    kafka: Annotated[
        str,
        typer.Option(help="`development` (memory), `local` (Apache Kafka on this machine's JVM), or HOST:PORT."),
    ] = "development",
    images: Annotated[Path | None, typer.Option(help="Real images in MVTec layout instead of drawn parts.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="ResNet-18 weights (safetensors) for --images. Default: looked for beside the images."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Parts per second on each line.")] = 2.0,
    proof: Annotated[
        bool,
        typer.Option(
            "--proof",
            help="A model that misses a share of the defects; holdouts, reference parts and simulated reviewers find"
            " out which. Ends with the estimates beside the truth.",
        ),
    ] = False,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe",
            help="With what watches a plant: each part's trace in Zipkin, metrics and alerts in Prometheus and"
            " Alertmanager. What is not on this machine is told with how to get it.",
        ),
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where plant file, models, logs and ledger go.")] = Path("runs/demo"),
) -> None:
    """Run a whole plant on this machine: two lines, their PLCs, and every service as a process."""

    if proof and (parts is None or images is not None):
        raise typer.BadParameter("--proof needs --parts, such as 2000, and drawn parts: no --images")
    from neverblink.demo.service import DemoSettings, run

    settings = DemoSettings(
        parts=parts, kafka=kafka, images=images, weights=weights, rate_per_s=rate, folder=folder, proof=proof,
        observe=observe,
    )  # fmt: skip
    # Where no terminal tells its width, the tables need more than the usual 80 columns.
    console = wide_console()
    raise typer.Exit(asyncio.run(run(settings, console)))
