"""Fits the demonstration's models: on drawn good parts, or on the good images of a folder."""

from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.console import Console

from neverblink.demo.stream import Stream
from neverblink.job_life.terminal import progress_bar
from neverblink.plant import Plant, PlantError, SimulatedSource
from neverblink.simulation.parts import Simulation
from neverblink.trainer.fitting.jobs import run_fit
from neverblink.trainer.fitting.settings import FitJob
from neverblink.vision.network_names import DEFAULT_MODEL

# A small bank in one light: the drawn parts are as easy to tell, and the demonstration starts in a third of the time.
_RATIO = 0.01
_BRIGHTNESS = (1.0,)

# 299 normals are what a promise of 1 % false rejects with 95 % confidence takes.
_NORMALS = 300
_WEIGHTS_FILE = "resnet18*.safetensors"


def known_weights(images: Path | None, weights: Path | None) -> Path | None:
    """Return the ResNet-18 weights file to compare the default backbone with, None when there is none.

    Without a word it is looked for where it usually lies: in `weights` beside the images' folder.
    """
    if images is None:
        if weights is not None:
            raise PlantError("--weights belongs to --images; drawn parts are scored by the packaged backbone")
        return None
    if weights is not None:
        if not weights.is_file():
            raise PlantError(f"there is no weights file {weights}")
        return weights.resolve()
    found = sorted((images.resolve().parent / "weights").glob(_WEIGHTS_FILE))
    return found[0] if found else None


def fit_models(
    plant: Plant, streams: Sequence[Stream], images: Path | None, weights: dict[str, Path], console: Console
) -> None:
    """Fit one model per stream into the plant's artifacts folder, with a progress bar each."""
    for stream in streams:
        folder = plant.artifact_folder(plant.product(stream.product))
        good = images if images is not None else _drawn(plant, stream, console)
        own = weights.get(stream.product)
        job = FitJob(
            images=good,
            product=stream.product,
            out=folder,
            # Its own folder, from one run to the next.
            replace=True,
            model="resnet18" if own else DEFAULT_MODEL,
            weights=own,
            ratio=_RATIO,
            brightness=_BRIGHTNESS,
            align=stream.align,
        )
        with progress_bar(console, stream.product) as progress:
            done = run_fit(job, progress)
        console.print(done.sentence)
        for note in done.notes:
            console.print(f"{stream.product}: {note}", style="dim")


def _drawn(plant: Plant, stream: Stream, console: Console) -> Path:
    """Draw good parts into a folder, as a vision engineer would collect them on the first morning."""
    assert isinstance(stream.source, SimulatedSource)
    simulation = Simulation(
        product=stream.source.drawing, seed=stream.source.seed, defect_rate=stream.source.defect_rate
    )
    folder = plant.storage.artifacts.parent / "good" / stream.product
    folder.mkdir(parents=True)
    with progress_bar(console, stream.product) as report:
        for number in range(1, _NORMALS + 1):
            pixels = simulation.good(number).image
            cv2.imwrite(str(folder / f"{number:04}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
            report("taking pictures of good parts", number, _NORMALS)
    return folder
