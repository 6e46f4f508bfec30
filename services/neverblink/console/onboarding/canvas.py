"""The picture that is drawn upon: the camera's, or the upright one, and then the alignment that it was made by."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neverblink.console.onboarding.products import DrawnOn, NewProduct, OnboardingError
from neverblink.console.onboarding.told import LookedOver
from neverblink.console.runs.book import Run
from neverblink.console.runs.run_folder import RunFolderError

ALIGNMENT: Final = "alignment.safetensors"


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture to draw upon: which, its JPEG in the gallery of what looked it over, and its pixels."""

    drawn_on: DrawnOn
    picture: str
    width: int
    height: int


def canvas_of(product: NewProduct, looked: LookedOver | None) -> Canvas | None:
    """Return the picture that is drawn upon, None where there is none to be shown.

    Once something is drawn it is that picture, until what was drawn is taken away: corners of the one lie elsewhere on
    the other.
    """
    if looked is None:
        return None
    parts = looked.parts
    upright = None if parts is None or parts.kind is None else parts
    wanted = product.drawn_on or ("upright" if upright is not None and product.align != "none" else "camera")
    if wanted == "upright":
        if upright is None or upright.upright is None or upright.width is None or upright.height is None:
            return None
        return Canvas("upright", upright.upright, upright.width, upright.height)
    return None if looked.sample is None else Canvas("camera", looked.sample, looked.width, looked.height)


def check_choice(product: NewProduct, chosen: str) -> None:
    """Raise OnboardingError when parts would be found otherwise than on what is drawn."""
    if product.drawn_on is not None and chosen != product.align:
        raise OnboardingError("regions are drawn on this picture: remove them first, then choose how parts are found")


def kept_alignment(folder: Path) -> Path:
    """Return where the alignment of what was drawn on lies in a product's folder."""
    return folder / ALIGNMENT


def keep_alignment(folder: Path, run: Run | None, gallery: str, looked: LookedOver | None) -> None:
    """Keep the alignment by which the upright picture was made: learnt from others, parts may lie otherwise.

    Raises OnboardingError.
    """
    parts = None if looked is None else looked.parts
    if run is None or parts is None or parts.alignment is None or Path(parts.alignment).name != parts.alignment:
        raise OnboardingError("how the parts lie is no longer known: look at the pictures again")
    try:
        if run.settings().get("alignment") != str(kept_alignment(folder).absolute()):
            shutil.copyfile(run.folder / gallery / parts.alignment, kept_alignment(folder))
    except (OSError, RunFolderError) as error:
        raise OnboardingError("the alignment cannot be kept: %(reason)s", reason=error) from error
