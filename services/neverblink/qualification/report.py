"""A qualification as one HTML page: may the model score, which known parts it gets wrong, and what it was judged by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neverblink.model_registry.qualifications import JudgedPart, Qualification
from neverblink.qualification.judging import Look
from neverblink.reports.galleries import HEAT_SAYS, Card, HeatScale, data_url, heat, small
from neverblink.reports.pages import template
from neverblink.vision.artifact import Artifact
from neverblink.vision.overlay import outlined

MOST_SHOWN = 24
"""Pictures of wrong parts on a page, some 60 kB each; the table lists all."""

_LISTED = 500
_NOT_IN = (
    "how often such parts come, and what else escapes: golden parts are chosen by people and not drawn from the line,"
    " so no rate of the line follows from them"
)


class _Kind(NamedTuple):
    """What became of the good parts, or of one defect type; `nearest` is the ratio nearest to being wrong."""

    name: str
    parts: int
    right: int
    nearest: float | None


def card_of(look: Look, artifact: Artifact) -> Card:
    """Return a part as a page shows it: small, with its heat where the model has seen it."""
    part, image, hot = look.part, None, None
    if look.image is not None:
        shown = small(look.image)
        image = data_url(shown)
        if look.inspection is not None:
            seen = look.inspection
            drawn = heat(shown, seen.anomaly.anomaly_map, HeatScale.of(artifact), anomalous=seen.anomalous)
            if seen.outlined is not None:
                drawn = outlined(drawn, np.asarray(seen.outlined.any(axis=0)))
            hot = data_url(drawn)
    found = f"found: {', '.join(part.found)}" if part.found else "nothing found"
    return Card(part.picture, (part.fault or part.decision, found), image, hot)


def page_of(
    report: Qualification, refused: str | None, cards: Sequence[Card], promise: str, notes: Sequence[str]
) -> str:
    """Return the page of a report; `refused` is why the model must not score, `promise` what its artifact promises."""
    wrong = [part for part in report.parts if part.fault is not None]
    listed = sorted(report.parts, key=lambda part: (part.fault is None, part.picture))
    defects = [part for part in report.parts if part.type is not None]
    return template("qualification.html.jinja").render(
        report=report,
        refused=refused,
        notes=notes,
        tiles=(
            (f"{len(defects) - len(report.escaped)} of {len(defects)}", "known defects are caught as they must be"),
            (
                f"{len(report.rejected_good)} of {len(report.parts) - len(defects)}",
                "good golden parts are rejected",
            ),
            (str(len(report.unjudged)), "golden parts could not be judged"),
            (f"{report.threshold:.4g}", "threshold" if report.edited is None else "threshold, as a person edited it"),
        ),
        kinds=_kinds(report.parts),
        cards=cards,
        unshown=len(wrong) - len(cards),
        heat_says=HEAT_SAYS,
        listed=listed[:_LISTED],
        unlisted=max(0, len(listed) - _LISTED),
        origins=_origins(report, promise),
    )


def _kinds(parts: Sequence[JudgedPart]) -> list[_Kind]:
    found = []
    for name in [None, *sorted({part.type for part in parts if part.type is not None})]:
        own = [part for part in parts if part.type == name]
        if not own:
            continue
        ratios = [part.ratio for part in own if part.ratio is not None]
        nearest = (max(ratios) if name is None else min(ratios)) if ratios else None
        found.append(_Kind(name or "good", len(own), sum(part.fault is None for part in own), nearest))
    return found


def _origins(report: Qualification, promise: str) -> list[tuple[str, str]]:
    edited = "the artifact's own" if report.edited is None else f"edited to {report.edited:g}"
    return [
        ("model", f"{report.artifact.name} {report.artifact.version}, {report.artifact.digest}"),
        ("threshold", f"{report.threshold:.6g}, {edited}; a score of 1.00 in the table is at it"),
        ("golden set", report.golden),
        ("rules of the product", report.rules),
        ("judged", f"{report.at:%Y-%m-%d %H:%M} UTC, asked by {report.by}, with {report.judged_on}"),
        ("promise of the artifact", promise),
        ("not in these figures", _NOT_IN),
    ]
