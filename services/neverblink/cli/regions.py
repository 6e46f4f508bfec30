"""Named regions of a part: the picture to draw them on."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from neverblink.cli.application import region_app
from neverblink.job_life.terminal import say


@region_app.callback()
def region() -> None:
    """Draw named regions: judged, ignored, or to be there."""


@region_app.command("preview")
def region_preview(
    pictures: Annotated[Path, typer.Argument(help="Folder of good parts, or one picture.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.png", help="Picture to write, PNG or JPEG.")],
    regions: Annotated[Path | None, typer.Option(metavar="FILE", help="Regions to draw, a YAML file.")] = None,
    artifact: Annotated[
        Path | None, typer.Option(help="Artifact folder: parts are found as it finds them, and its regions are drawn.")
    ] = None,
    align: Annotated[
        Literal["none", "silhouette", "template"], typer.Option(help="Upright, as `fit --align` would make parts.")
    ] = "none",
    depth: Annotated[int | None, typer.Option(help="Bits that values of 16-bit pictures use.")] = None,
) -> None:
    """Write the picture that named regions are drawn on, with coordinates, and the regions that there are.

    `neverblink region preview pictures/pcb --out pcb.png`

    `neverblink region preview pictures/pcb --regions pcb-regions.yaml --out pcb.png`
    """
    from neverblink.vision.named_regions.spec import load_regions

    # What is wrong with the file is told before what takes a second to load.
    known = None if regions is None else load_regions(regions)

    from neverblink.trainer.fitting.region_preview import preview

    shown = preview(pictures, out, regions=known, artifact=artifact, align=align, depth=depth)
    say(Console(), f"{out}: {shown.source.name}; polygons are in its pixels, and a regions file begins with")
    typer.echo(f"width: {shown.width}\nheight: {shown.height}")
