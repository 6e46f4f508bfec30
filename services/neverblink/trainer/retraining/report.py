"""A retraining as one HTML file that needs nothing else, and the same figures as JSON beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neverblink.reports.charts import Tick
from neverblink.reports.figures import figure, of_threshold, percent, whole
from neverblink.reports.galleries import Card, Gallery, data_url, small
from neverblink.reports.pages import Written, template, write_page
from neverblink.trainer.retraining.champion_trial import Judged, Role, Standing, Trial
from neverblink.trainer.retraining.retrain import Retrained
from neverblink.vision.decode import read_image

_TEMPLATE = "retraining.html.jinja"
_SHOWN = 12
_LEAST, _MOST = 0.05, 20.0
"""Shares of the threshold beyond these are drawn there."""

_AIR, _LEAST_SPAN = 1.05, 1.25
_TICKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.7, 2, 2.5, 3, 4, 5, 7, 10, 20)


class _Dot(NamedTuple):
    """A part in the unit square: champion's score across, challenger's up."""

    across: float
    up: float
    defective: bool
    escapes: bool
    says: str


@dataclass(frozen=True, slots=True)
class _Chart:
    """`corners` count normals and defective parts: rejected by the challenger alone, by both, by none, by the champion
    alone.
    """

    dots: list[_Dot]
    ticks: list[Tick]
    threshold: float
    corners: list[tuple[int, int]]
    clipped: bool


def write_retraining_report(done: Retrained, path: Path) -> Written:
    """Write `path` (HTML) and the same figures as JSON beside it. Raises ReportError, ImageError."""
    window = done.window
    figures: dict[str, object] = {
        "mode": mode_of(done),
        "learnt": done.learnt,
        "window": {
            "begins": None if window.begins is None else window.begins.isoformat(),
            "ends": None if window.ends is None else window.ends.isoformat(),
            "learn": len(window.learn),
            "held_out": len(window.held_out),
            "outside": window.outside,
            "duplicates": window.duplicates,
            "balanced_away": window.balanced_away,
            "known_to_champion": window.known_to_champion,
            "sources": window.sources,
        },
    }
    return write_page(path, render(done), figures | done.trial.as_dict())


def render(done: Retrained) -> str:
    """Return the page. Every name that comes from a file is escaped."""
    trial = done.trial
    return template(_TEMPLATE).render(
        done=done,
        trial=trial,
        mode=mode_of(done),
        tiles=_tiles(trial),
        rows=comparison(trial),
        chart=_chart(trial),
        galleries=[gallery for gallery in _galleries(trial) if gallery.cards],
        origins=_origins(done),
    )


def mode_of(done: Retrained) -> str:
    """Return how the challenger was made."""
    retraining = done.artifact.manifest.retraining
    assert retraining is not None
    return retraining.mode


def comparison(trial: Trial) -> list[tuple[str, str, str]]:
    """Return the rows of the table: what, champion, challenger."""
    models = trial.champion, trial.challenger
    rows: list[tuple[str, str, str]] = []

    def row(name: str, cells: Sequence[str]) -> None:
        rows.append((name, cells[0], cells[1]))

    normals = len(trial.of("normal"))
    row("false rejects on held-out normals", [f"{trial.rejected(one, 'normal')} of {normals}" for one in models])
    row("… at most, 95 % sure", [percent(trial.false_reject_bound(one)) for one in models])
    row("… promised at most", [percent(one.calibration.false_reject) for one in models])
    before, after = trial.corrections
    row("… of those that the champion rejects", [str(before), str(after)])
    row("challenge parts missed", [_missed(trial, one, "challenge") for one in models])
    row("known defects missed", [_missed(trial, one, "defect") for one in models])
    row("AUROC, normals against all of these", [figure(trial.auroc(one)) for one in models])
    row("threshold", [f"{one.threshold:.4g}" for one in models])
    row("memory bank", [f"{whole(one.bank[0])} × {one.bank[1]}, {one.bank_mb:.1f} MB" for one in models])
    row("an image, in batches of 8, here", [f"{one.ms_an_image:.1f} ms" for one in models])
    row("digest", [one.digest.removeprefix("sha256:")[:16] for one in models])
    return rows


def _tiles(trial: Trial) -> list[tuple[str, str]]:
    def change(role: Role, *, missed: bool) -> str:
        total = len(trial.of(role))
        counts = [trial.rejected(one, role) for one in (trial.champion, trial.challenger)]
        before, after = (total - count if missed else count for count in counts)
        return f"{before} → {after}" if total else "–"

    aurocs = [figure(trial.auroc(one)) for one in (trial.champion, trial.challenger)]
    return [
        (change("normal", missed=False), f"false rejects among {whole(len(trial.of('normal')))} held-out normals"),
        (change("challenge", missed=True), f"challenge parts missed, of {whole(len(trial.of('challenge')))}"),
        (change("defect", missed=True), f"known defects missed, of {whole(len(trial.of('defect')))}"),
        (" → ".join(aurocs) if aurocs[0] != "–" else "–", "AUROC"),
    ]


def _chart(trial: Trial) -> _Chart:
    """Axes are logarithms and end where the parts do: what matters lies around the threshold, within a factor."""
    models = trial.champion, trial.challenger
    ratios = np.array([[one.ratio for one in model.judged] for model in models], dtype=np.float64)
    clear = np.clip(ratios, _LEAST, _MOST)
    # Without the few that are far out, but always with the threshold, and some air around it.
    low = min(float(np.quantile(clear, 0.005)) / _AIR, 1 / _LEAST_SPAN)
    high = max(float(np.quantile(clear, 0.995)) * _AIR, _LEAST_SPAN)

    def along(value: float) -> float:
        return min(max(math.log(value / low) / math.log(high / low), 0.0), 1.0)

    escaping = set(trial.escaping)
    dots = [
        _Dot(
            along(clear[0, place]),
            along(clear[1, place]),
            part.type is not None,
            place in escaping,
            f"{part.name}, {part.type or 'normal'}: {_of(models[0].judged[place])}, {_of(models[1].judged[place])}",
        )
        for place, part in enumerate(trial.parts)
    ]
    rejected = [np.array([one.rejected for one in model.judged]) for model in models]
    good = np.array([part.type is None for part in trial.parts])
    corners = []
    for before, after in ((False, True), (True, True), (False, False), (True, False)):
        own = (rejected[0] == before) & (rejected[1] == after)
        corners.append((int((own & good).sum()), int((own & ~good).sum())))
    return _Chart(
        sorted(dots, key=lambda dot: dot.escapes),
        [Tick(along(at), f"{at:g}") for at in _TICKS if low <= at <= high],
        along(1.0),
        corners,
        bool((ratios < low).any() or (ratios > high).any()),
    )


def _galleries(trial: Trial) -> list[Gallery]:
    new = set(trial.newly_escaping)
    old = [place for place in trial.escaping if place not in new]
    still = [place for place in trial.of("normal") if trial.challenger.judged[place].rejected]
    still.sort(key=lambda place: -trial.challenger.judged[place].ratio)
    return [
        Gallery(
            "Would escape, and the champion finds them",
            _first(len(new)),
            [_card(trial, place) for place in sorted(new)[:_SHOWN]],
        ),
        Gallery("Escape both models", _first(len(old)), [_card(trial, place) for place in old[:_SHOWN]]),
        Gallery(
            "Held-out normals that the challenger rejects",
            f"The highest scores first. {_first(len(still))}",
            [_card(trial, place) for place in still[:_SHOWN]],
        ),
    ]


def _first(count: int) -> str:
    return f"The first {_SHOWN} of {whole(count)}." if count > _SHOWN else f"All {whole(count)}."


def _card(trial: Trial, place: int) -> Card:
    part = trial.parts[place]
    what = "normal" if part.type is None else f"{part.type} ({part.role})"
    before, after = (_of(model.judged[place]) for model in (trial.champion, trial.challenger))
    data = data_url(small(read_image(part.path, depth=trial.depth)))
    return Card(part.name, (f"{what}; champion {before}, challenger {after}",), data)


def _origins(done: Retrained) -> list[tuple[str, str]]:
    window, provenance = done.window, done.artifact.manifest.provenance
    if window.begins is None or window.ends is None:
        span = "all images: none says when it was captured"
    else:
        span = f"{window.begins:%Y-%m-%d %H:%M} to {window.ends:%Y-%m-%d %H:%M} UTC"
    found = [
        ("confirmed from", span),
        ("confirmed by", ", ".join(f"{source} {whole(count)}" for source, count in window.sources.items())),
        ("to learn from", f"{whole(len(window.learn))}, of which it learnt from {whole(done.learnt)}"),
        ("held out", f"{whole(len(window.held_out))}; no image is in both"),
        ("outside the window", whole(window.outside)),
        ("duplicates", whole(window.duplicates)),
        ("left out to balance days and shifts", whole(window.balanced_away)),
        ("never held out", f"{whole(window.known_to_champion)} that the champion was fitted to"),
        ("promise", done.artifact.manifest.calibration.statement()),
        ("champion", done.champion.digest),
        ("challenger", done.artifact.digest),
    ]
    if provenance.added:
        found.insert(3, ("vectors inserted since the last fit", whole(provenance.added)))
    return found


def _missed(trial: Trial, model: Standing, role: Role) -> str:
    total = len(trial.of(role))
    return f"{total - trial.rejected(model, role)} of {total}" if total else "–"


def _of(judged: Judged) -> str:
    return of_threshold(judged.ratio)
