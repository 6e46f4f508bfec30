"""The training pictures that stand out, on a page beside the artifact: who looks at them sees why."""

from collections.abc import Sequence
from pathlib import Path

from neverblink.reports.figures import of_threshold
from neverblink.reports.galleries import HEAT_SAYS, Card, Gallery, HeatScale, data_url, heat, name_of, small
from neverblink.reports.pages import ReportError, template
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.fitting.fit import Fitted
from neverblink.trainer.fitting.suspects import Suspect
from neverblink.vision.decode import read_image

_TEMPLATE = "suspects.html.jinja"
_SHOWN = 24


def page_of(folder: Path) -> Path:
    """Return where the page of an artifact's folder goes: beside it, for in it every file is the model's."""
    return folder.with_name(f"{folder.name}-suspicious.html")


def write_suspects(fitted: Fitted, folder: Path, depth: int | None = None) -> Path | None:
    """Write the page and return its place; where no picture stands out there is none, and an earlier one goes.

    `depth` are the bits that values of 16-bit pictures use. Raises ReportError, ImageError.
    """
    page = page_of(folder)
    galleries = [
        Gallery(title, says, _cards(some, fitted, depth))
        for title, says, some in (
            (
                "Left out",
                "Taken for not good by the robust fit. The promise holds only if they are indeed not good.",
                fitted.left_out,
            ),
            (
                "Learnt, and standing out",
                "What is not good goes out by --exclude; what is good belongs here, and more like it.",
                fitted.suspects,
            ),
        )
        if some
    ]
    try:
        if not galleries:
            page.unlink(missing_ok=True)
            return None
        html = template(_TEMPLATE).render(
            artifact=fitted.artifact, images=fitted.images, galleries=galleries, heat_says=HEAT_SAYS
        )
        write_whole(page, html.encode())
    except OSError as error:
        raise ReportError(f"the page {page} cannot be written: {error.strerror}") from error
    return page


def _cards(suspects: Sequence[Suspect], fitted: Fitted, depth: int | None) -> list[Card]:
    return [_card(one, fitted, depth) for one in suspects[:_SHOWN]]


def _card(one: Suspect, fitted: Fitted, depth: int | None) -> Card:
    image = small(read_image(one.path, depth=depth))
    without = one.threshold_without
    threshold = fitted.artifact.threshold
    lines = (
        f"score {of_threshold(one.score / threshold)} of the threshold",
        "too few would be left without it"
        if without is None
        else f"threshold without it: {of_threshold(without / threshold)} of what it is",
    )
    hot = None
    if one.anomaly_map is not None:
        scale = HeatScale.of(fitted.artifact)
        # It is shown since it stands out: its highest place is what to look at.
        hot = data_url(heat(image, one.anomaly_map, scale, anomalous=True))
    return Card(name_of(one.path), lines, data_url(image), hot)
