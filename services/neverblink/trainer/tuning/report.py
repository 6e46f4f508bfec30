"""A search as one HTML file that needs nothing else: the answer, everything that was tried, and the defects between."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from neverblink.reports.charts import Tick, round_values
from neverblink.reports.figures import of_threshold
from neverblink.reports.galleries import LABEL_COLOUR, Card, Gallery, data_url, small
from neverblink.reports.pages import Written, template, write_page
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.views import preprocess_of
from neverblink.trainer.tuning.judging import Scores, threshold_of
from neverblink.trainer.tuning.material import Material
from neverblink.trainer.tuning.results import TriedRecipe, TuneResult
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.trainer.tuning.shown_defects import Shown, picture_and_mask
from neverblink.trainer.tuning.state import Trial
from neverblink.vision.errors import VisionError
from neverblink.vision.overlay import outlined

_TEMPLATE: Final = "tuning.html.jinja"
_SHOWN: Final = 6
_AIR: Final = 1.15
"""The axis of times ends so far beyond the slowest."""


class Dot(NamedTuple):
    """A recipe on the chart: time across, recall up with the middle 95 % of the draws."""

    across: float
    up: float
    low: float
    high: float
    taken: bool
    default: bool
    label: str
    says: str


class Chart(NamedTuple):
    """The recipes that were judged by all pictures, and the ticks of their times in milliseconds."""

    dots: list[Dot]
    across: list[Tick]
    bound: float | None


def write_tuning_report(
    result: TuneResult, job: TuneJob, material: Material, both: tuple[Trial, Trial], settings: FitSettings
) -> Written:
    """Write the page of a search and the same figures as JSON beside it. Raises ReportError.

    `both` are the trials of the default and of the recipe that is taken, `settings` the latter's.
    """
    html = template(_TEMPLATE).render(
        result=result,
        job=job,
        taken=result.taken,
        chart=chart_of(result.recipes, result.chosen, job.max_ms),
        galleries=_galleries(result, material, both, job.default, settings),
        settings_text=result.settings_file.read_text(),
    )
    return write_page(result.report, html, result.model_dump(mode="json"))


def chart_of(recipes: Sequence[TriedRecipe], chosen: str, max_ms: float | None) -> Chart:
    """Return the chart of the recipes that have all figures."""
    whole = [one for one in recipes if one.tried_on == "all" and one.recall is not None and one.ms is not None]
    most = _AIR * max([one.ms or 0.0 for one in whole] + ([max_ms] if max_ms else []))
    dots = [
        Dot(
            (one.ms or 0.0) / most,
            one.recall or 0.0,
            one.low or 0.0,
            one.high or 0.0,
            one.label == chosen,
            place == 0,
            one.label,
            f"{one.label}: {one.recall or 0.0:.2f} found, {one.ms or 0.0:.1f} ms",
        )
        for place, one in enumerate(whole)
    ]
    ticks = [Tick(value / most, f"{value:g}") for value in round_values(0.0, most, 6)]
    return Chart(dots, ticks, None if max_ms is None else max_ms / most)


def _galleries(
    result: TuneResult, material: Material, both: tuple[Trial, Trial], default: FitSettings, settings: FitSettings
) -> list[Gallery]:
    """Return the defects that the choice changes, and those that it still misses."""
    shares = [_shares(trial.scores, result.promise) for trial in both]
    before, after = shares
    shown = material.every.defects
    same = both[0].candidate == both[1].candidate
    found = np.flatnonzero((before <= 1) & (after > 1))
    lost = np.flatnonzero((before > 1) & (after <= 1))
    missed = np.flatnonzero(after <= 1)
    groups = [
        ("Found now, missed by the default", found[np.argsort(before[found])]),
        ("Missed now, found by the default", lost[np.argsort(after[lost])]),
        ("Still missed" if not same else "Missed", missed[np.argsort(after[missed])]),
    ]
    says = (
        "Left the picture, the defect outlined where it is known; right what the network sees of it by the recipe that"
        " is taken. Scores are shares of the threshold, of one drawn from a bank that knows neither it nor its group."
    )
    galleries = []
    for title, places in groups:
        cards = [
            _card(shown[place], float(before[place]), float(after[place]), default, settings, same=same)
            for place in places[:_SHOWN].tolist()
        ]
        if cards:
            galleries.append(Gallery(f"{title}: {len(places)} of {len(shown)}", says, cards))
    return galleries


def _shares(scores: Scores, promise: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    threshold = threshold_of(scores, promise)
    shares = scores.bad / threshold if np.isfinite(threshold) else np.zeros(len(scores.bad))
    return np.where(np.isfinite(shares), shares, 0.0)


def _card(
    shown: Shown, before: float, after: float, default: FitSettings, settings: FitSettings, *, same: bool
) -> Card:
    lines = (shown.kind, of_threshold(after) if same else f"{of_threshold(before)} before, {of_threshold(after)} now")
    try:
        image, mask = picture_and_mask(shown, default)
        drawn = small(image) if mask is None else outlined(small(image), mask, LABEL_COLOUR)
        # The network's square, as far as the picture fills it; alignment is left out here.
        seen = preprocess_of([Path(shown.path)], settings).apply(image) if settings.tiling is None else image
        return Card(shown.name, lines, data_url(drawn), data_url(small(seen)))
    except VisionError:
        # The figures stand without the picture.
        return Card(shown.name, lines, None)
