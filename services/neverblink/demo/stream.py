"""What the demonstration shows, and the truth about each part."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neverblink.camera.sources import ordered_images
from neverblink.plant import FolderSource, PlantError, SimulatedSource
from neverblink.simulation.parts import Simulation
from neverblink.vision.alignment.spec import Align

_ORDER_SEED = 1
_PARTS_SEED = 11
_DEFECT_RATE = 0.15

Truth = Callable[[int], str | None]
"""From a part's number (counted from 1) to the name of its defect, None for a good part."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One line's parts: where its camera takes them from, and what is true about them."""

    line: str
    station: str
    product: str
    title: str
    source: FolderSource | SimulatedSource
    truth: Truth
    hides: Callable[[int], bool] = lambda _: False
    """From a part's number to whether it has a defect that its picture does not show."""
    align: Align = "none"
    """How a fit turns its parts alike."""


def simulated_streams(hidden_rate: float = 0.0) -> list[Stream]:
    """Return two lines with a different drawn product each, boards that a fixture holds and brackets that lie as they
    fell; so large a share of the defects shows in no picture.
    """
    return [
        _simulated("line-1", "top", "pcb", hidden_rate),
        _simulated("line-2", "belt", "bracket", hidden_rate, align="silhouette"),
    ]


def folder_streams(images: Path, backbones: list[str]) -> list[Stream]:
    """Return one line per backbone, all shown the same real images (MVTec layout) in the same order."""
    for part in ("train/good", "test"):
        if not (images / part).is_dir():
            raise PlantError(
                f"{images / part} is not a folder; --images wants MVTec layout: train/good to fit, "
                "test/good and test/<defect> as the stream"
            )
    files = ordered_images(images / "test", shuffle=True, seed=_ORDER_SEED)
    if not files:
        raise PlantError(f"{images / 'test'} has no images to show")

    def truth(number: int) -> str | None:
        label = files[(number - 1) % len(files)].parent.name
        return None if label == "good" else label

    name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in images.name)
    source = FolderSource(kind="folder", path=images / "test", shuffle=True, seed=_ORDER_SEED)
    return [
        Stream(f"line-{index}", "camera", f"{name}-{backbone}"[:64], f"{images.name}, {backbone}", source, truth)
        for index, backbone in enumerate(backbones, 1)
    ]


def _simulated(line: str, station: str, drawing: str, hidden_rate: float, *, align: Align = "none") -> Stream:
    simulation = Simulation(product=drawing, seed=_PARTS_SEED, defect_rate=_DEFECT_RATE, hidden_rate=hidden_rate)
    source = SimulatedSource(
        kind="simulated", drawing=drawing, seed=_PARTS_SEED, defect_rate=_DEFECT_RATE, hidden_rate=hidden_rate
    )
    title = f"simulated {drawing}" + ("" if align == "none" else ", lying anyhow")
    return Stream(line, station, drawing, title, source, simulation.truth, simulation.hides, align)
