"""A fresh model as one HTML file that needs nothing else: its promise, what that costs, and what stands out least."""

from collections.abc import Sequence
from pathlib import Path

from neverblink.reports.figures import of_threshold
from neverblink.reports.galleries import (
    HEAT_SAYS,
    LABEL_COLOUR,
    Card,
    HeatScale,
    data_url,
    heat,
    small,
)
from neverblink.reports.pages import Written, template, write_page
from neverblink.trainer.fitting.first_trial import FirstTrial, Tried
from neverblink.trainer.fitting.placed_parts import ShownPart
from neverblink.trainer.promises.advice import Advice
from neverblink.trainer.promises.promise_chart import promise_chart
from neverblink.vision.artifact import Artifact
from neverblink.vision.overlay import outlined

_TEMPLATE = "fit.html.jinja"


def write_fit_report(
    artifact: Artifact,
    trial: FirstTrial,
    advice: Advice,
    path: Path,
    *,
    notes: tuple[str, ...] = (),
    parts: Sequence[ShownPart] = (),
) -> Written:
    """Write `path` (HTML) and the same figures as JSON beside it; `parts` say how they lie. Raises ReportError."""
    html = template(_TEMPLATE).render(
        artifact=artifact,
        manifest=artifact.manifest,
        trial=trial,
        notes=notes,
        costs=trial.costs,
        costs_chart=promise_chart(trial.costs),
        advice=advice,
        cards=[_card(tried, artifact) for tried in trial.lowest],
        heat_says=HEAT_SAYS,
        found=[_part(one) for one in parts if one.why is None],
        unfound=[_part(one) for one in parts if one.why is not None],
    )
    figures: dict[str, object] = {
        "name": artifact.name,
        "version": artifact.version,
        "digest": artifact.digest,
        "threshold": artifact.threshold,
        "promise": artifact.manifest.calibration.statement(),
        "auroc": trial.ranking.auroc,
        "auroc_interval": list(trial.ranking.interval),
        "promises": trial.costs.as_dict(),
        "doubts": list(advice.doubts),
        "next": list(advice.commands),
    }
    return write_page(path, html, figures)


def _part(one: ShownPart) -> Card:
    said = one.why or f"fits by {one.fit:.2f}"
    return Card(one.path.name, (said,), data_url(one.lies), None if one.upright is None else data_url(one.upright))


def _card(tried: Tried, artifact: Artifact) -> Card:
    image = small(tried.image)
    drawn = image if tried.mask is None else outlined(image, tried.mask, LABEL_COLOUR)
    anomaly = tried.inspection.anomaly
    anomalous = anomaly.score > artifact.threshold
    hot = heat(image, anomaly.anomaly_map, HeatScale.of(artifact), anomalous=anomalous)
    score = of_threshold(anomaly.score / artifact.threshold)
    said = f"{'found' if anomalous else 'missed'}, score {score} of the threshold"
    return Card(tried.name, (tried.kind, said), data_url(drawn), data_url(hot))
