"""An inspection as one HTML file that needs nothing else: totals, scores, the lot, and the images to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neverblink.job_life.progress import Progress
from neverblink.reports.charts import Bar, Tick, histogram, points, round_values
from neverblink.reports.figures import of_threshold, whole
from neverblink.reports.galleries import HEAT_SAYS, Card, Gallery, HeatScale, data_url, heat, small
from neverblink.reports.pages import template
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.datasets.inputs import InspectionError, Origin
from neverblink.trainer.offline_inspection.inspection import RESULT, Looked, OfflineInspection
from neverblink.trainer.offline_inspection.known_decisions import Change
from neverblink.trainer.offline_inspection.lot_sampling import CONSUMER_RISK, SamplingPlan
from neverblink.trainer.offline_inspection.results import Results, Shown, ShownDefect
from neverblink.vision.overlay import outlined

_TEMPLATE = "inspection.html.jinja"

_WORST = 18
_CHANGED = 12
_LISTED = 200
_NAMED_DEFECTS = 3
_BINS = 48
_TICKS = 6
_CURVE_POINTS = 120

_CHANGES = {
    Change.AGREE: "decided as before",
    Change.NEWLY_REJECTED: "newly rejected",
    Change.NEWLY_PASSED: "newly passed",
    Change.NEWLY_SCORED: "scored now, not before",
    Change.NEWLY_UNSCORED: "not scored now",
}


@dataclass(frozen=True, slots=True)
class _Histogram:
    bars: list[Bar]
    width: float
    threshold: float
    across: list[Tick]
    most_passed: int
    most_rejected: int
    beyond: bool


@dataclass(frozen=True, slots=True)
class _Characteristic:
    """The operating characteristic: chance of acceptance over the share of bad parts, in a 100 × 100 box."""

    points: str
    across: list[Tick]
    aql: float
    accepted_at_aql: float
    consumer: float
    consumer_share: float
    consumer_risk: float


def write_inspection_report(run: OfflineInspection, results: Results, progress: Progress = lambda *_: None) -> Path:
    """Write the page into the inspection's folder and return where it is.

    The images that it shows are inspected once more for their maps. Raises InspectionError when the page cannot be
    written, KafkaError when frames cannot be read again.
    """
    html = render(run, results, progress)
    try:
        write_whole(run.report, html.encode())
    except OSError as error:
        raise InspectionError(f"the report {run.report} cannot be written: {error.strerror}") from error
    return run.report


def render(run: OfflineInspection, results: Results, progress: Progress = lambda *_: None) -> str:
    """Return the page. Every name that comes from a file or a topic is escaped."""
    worst = results.highest(_WORST)
    rejected = results.changed(Change.NEWLY_REJECTED, _CHANGED)
    passed = results.changed(Change.NEWLY_PASSED, _CHANGED)
    pictures = _pictures(run, [*worst, *rejected, *passed], progress)
    unscored = results.without_score(_LISTED)
    return template(_TEMPLATE).render(
        run=run,
        found=results,
        result_file=RESULT,
        heat_says=HEAT_SAYS,
        histogram=None if not len(results.ratios) else _histogram(*results.ratios_by_decision),
        lot=results.lot,
        characteristic=None if results.lot is None else _characteristic(results.lot.plan),
        changes=[(_CHANGES[change], count) for change, count in results.changes.items()],
        galleries=[
            Gallery(title, says, [_card(one, pictures) for one in shown])
            for title, says, shown in (
                ("Newly rejected", "They passed before; the highest scores first.", rejected),
                ("Newly passed", "They were rejected before; the lowest scores first.", passed),
                ("Highest scores", "Whatever was decided about them, the highest first.", worst),
            )
            if shown
        ],
        unscored=unscored,
        unlisted=results.unscored - len(unscored),
    )


# Pictures


def _pictures(run: OfflineInspection, shown: Sequence[Shown], progress: Progress) -> dict[str, tuple[str, str]]:
    wanted: dict[str, tuple[Origin, str]] = {
        one.origin.name: (one.origin, one.artifact_digest) for one in shown if one.artifact_digest is not None
    }
    found: dict[str, tuple[str, str]] = {}
    for looked in run.look_again(list(wanted.values())):
        image = small(looked.image)
        found[looked.origin.name] = (data_url(image), data_url(_heat(image, looked)))
        progress("pictures", len(found), len(wanted))
    return found


def _heat(image: npt.NDArray[np.uint8], looked: Looked) -> npt.NDArray[np.uint8]:
    seen = looked.inspection
    drawn = heat(image, seen.anomaly.anomaly_map, HeatScale.of(looked.artifact), anomalous=seen.anomalous)
    if seen.outlined is not None:
        drawn = outlined(drawn, np.asarray(seen.outlined.any(axis=0)))
    return drawn


def _card(one: Shown, pictures: dict[str, tuple[str, str]]) -> Card:
    image, hot = pictures.get(one.origin.name, (None, None))
    place = "" if one.origin.line is None else f"{one.origin.line}/{one.origin.station}, "
    score = "no score" if one.ratio is None else f"score {of_threshold(one.ratio)} of the threshold"
    verdict = one.decision + (f", {one.reason}" if one.reason else "") + (", unsure" if one.unsure else "")
    lines = [f"{verdict}; {score}"]
    if one.defects:
        lines.append(_found(one.defects))
    if one.known_decision is not None:
        than = "" if one.known_ratio is None else f", {of_threshold(one.known_ratio)} of its threshold"
        lines.append(f"before: {one.known_decision}{than}")
    name = one.origin.name if one.origin.part == one.origin.name else f"{place}part {one.origin.part}"
    return Card(name, tuple(lines), image, hot)


def _found(defects: Sequence[ShownDefect]) -> str:
    """Return the regions as people read them, the most conspicuous first."""
    said = [
        one.type + ("" if one.confidence is None else f" {one.confidence:.2f}") + f", {whole(one.area_px)} px"
        for one in defects[:_NAMED_DEFECTS]
    ]
    more = len(defects) - _NAMED_DEFECTS
    return f"found: {'; '.join(said)}" + (f"; and {more} more" if more > 0 else "")


# Charts: numbers here, ink in the template


def _histogram(passed: npt.NDArray[np.float64], rejected: npt.NDArray[np.float64]) -> _Histogram:
    """Bins begin and end at the threshold, so no bar stands on both sides of it; the last one has all beyond."""
    both = np.concatenate([passed, rejected])
    low = min(float(both.min()), 0.9)
    # One part that is far out must not press all others into one bar.
    high = max(1.25, min(float(both.max()), 3 * float(np.quantile(both, 0.95))))
    step = (high - low) / _BINS
    below = int(np.ceil((1 - low) / step))
    edges = 1 + step * np.arange(-below, int(np.ceil((high - 1) / step)) + 1)
    chart = histogram(passed, rejected, edges, below)
    most_passed, most_rejected = (max(1, count) for count in chart.tallest)
    beyond = bool(both.max() > edges[-1])

    def says(index: int) -> str:
        end = "the highest" if beyond and index == len(edges) - 2 else f"{edges[index + 1]:.2f}"
        return f"{edges[index]:.2f} to {end}: {chart.up[index]} passed, {chart.down[index]} rejected"

    return _Histogram(
        bars=chart.bars((most_passed, most_rejected), says),
        width=chart.width,
        threshold=chart.threshold,
        across=chart.ticks(_TICKS, "g", high),
        most_passed=most_passed,
        most_rejected=most_rejected,
        beyond=beyond,
    )


def _characteristic(plan: SamplingPlan) -> _Characteristic:
    consumer = plan.quality_accepted_with(CONSUMER_RISK)
    high = min(1.0, 1.6 * max(consumer, plan.aql / 100))
    shares = np.linspace(0, high, _CURVE_POINTS)
    return _Characteristic(
        points=points(shares / high, [plan.acceptance_probability(float(p)) for p in shares]),
        across=[Tick(value / (100 * high), f"{value:g}") for value in round_values(0, 100 * high, _TICKS)],
        aql=plan.aql / (100 * high),
        accepted_at_aql=plan.acceptance_probability(plan.aql / 100),
        consumer=consumer / high,
        consumer_share=consumer,
        consumer_risk=CONSUMER_RISK,
    )
