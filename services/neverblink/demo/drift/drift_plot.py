"""A simulated line's weeks as SVG: what was measured hour by hour, when the change began, which alerts were open."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from neverblink.events import AlertStage, Distribution, DriftReport, DriftState

_Across = Callable[[float], float]

_WIDTH, _PANEL, _GAP = 860, 120, 34
_LEFT, _RIGHT, _TOP = 64, 16, 46
_DAY_S = 86400.0
_PANELS = (
    ("pass_ratio", "score / threshold of passing parts"),
    ("brightness", "brightness"),
    ("sharpness", "sharpness"),
)
_COLOURS = {DriftState.WATCH: "#e8a33d", DriftState.ACT: "#c8402f"}


@dataclass(frozen=True, slots=True)
class _Span:
    """When an alert was open, seconds since the beginning, and how severe it became."""

    signal: str
    begins: float
    ends: float
    severity: DriftState


def svg(reports: Sequence[DriftReport], title: str, onset_s: float | None) -> str:
    """Return the plot of at least one report, oldest first; `onset_s` after the first report's beginning."""
    begin = reports[0].opened.timestamp()
    weeks = max(1, math.ceil((reports[-1].closed.timestamp() - begin) / _DAY_S / 7 - 0.3))
    length = weeks * 7 * _DAY_S
    spans = _spans(reports, begin, length)
    lanes = sorted({span.signal for span in spans})
    height = _TOP + len(_PANELS) * (_PANEL + _GAP) + 24 + 18 * max(1, len(lanes)) + 24

    def across(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / length

    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    bottom = _TOP + len(_PANELS) * (_PANEL + _GAP) - _GAP
    for week in range(weeks + 1):
        x = across(week * 7 * _DAY_S)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" stroke="#ddd"/>')
        if week < weeks:
            parts.append(f'<text x="{x + 4:.1f}" y="{bottom + 16}" fill="#777">week {week + 1}</text>')
    for number, (signal, words) in enumerate(_PANELS):
        parts += _panel(reports, signal, words, _TOP + number * (_PANEL + _GAP), begin, across)
    if onset_s is not None:
        x = across(onset_s)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" stroke="#3b6ea5" stroke-dasharray="5 4"/>'
            f'<text x="{x + 4:.1f}" y="{_TOP - 6}" fill="#3b6ea5">the change begins</text>'
        )
    parts += _lanes(spans, lanes, bottom + 30, across)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    reports: Sequence[DriftReport], signal: str, words: str, top: float, begin: float, across: _Across
) -> list[str]:
    points = _hourly(reports, signal, begin)
    parts = [
        f'<text x="{_LEFT + 4}" y="{top + 14}" fill="#555">{words}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_PANEL}" fill="none" stroke="#bbb"/>',
    ]
    if not points:
        return parts
    low, high = min(value for _, value in points), max(value for _, value in points)
    room = max(high - low, 1e-9) * 0.25
    low, high = low - room / 2, high + room

    def up(value: float) -> float:
        return top + _PANEL * (high - value) / (high - low)

    parts += [
        f'<text x="{_LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (low + (high - low) * share for share in (0.15, 0.5, 0.85))
    ]
    dots = "".join(f"M{across(moment):.1f} {up(value):.1f}h.01" for moment, value in points)
    parts.append(f'<path d="{dots}" stroke="#456" stroke-width="2.4" stroke-linecap="round" fill="none"/>')
    return parts


def _lanes(spans: Sequence[_Span], lanes: Sequence[str], top: float, across: _Across) -> list[str]:
    if not spans:
        return [f'<text x="{_LEFT}" y="{top + 14}">no alert</text>']
    parts = []
    for span in spans:
        y = top + 18 * lanes.index(span.signal)
        x, ends = across(span.begins), across(span.ends)
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{max(3.0, ends - x):.1f}" height="12" fill="{_COLOURS[span.severity]}"/>'
            f'<text x="{x - 5:.1f}" y="{y + 11}" text-anchor="end">{span.signal}</text>'
        )
    y = top + 18 * len(lanes) + 12
    parts.append(
        f'<text x="{_LEFT}" y="{y}" fill="#777">alerts that were open:'
        f' <tspan fill="{_COLOURS[DriftState.WATCH]}">■ watch</tspan>'
        f' <tspan fill="{_COLOURS[DriftState.ACT]}">■ act</tspan></text>'
    )
    return parts


def _hourly(reports: Sequence[DriftReport], signal: str, begin: float) -> list[tuple[float, float]]:
    """Return the mean of each hour that has passing parts, with the middle of the hour."""
    points = []
    for hour, some in groupby(reports, lambda report: int((report.opened.timestamp() - begin) // 3600)):
        seen: list[Distribution] = [found for report in some if (found := getattr(report, signal)) is not None]
        count = sum(found.count for found in seen)
        if count:
            points.append((hour * 3600 + 1800.0, sum(found.mean * found.count for found in seen) / count))
    return points


def _spans(reports: Sequence[DriftReport], begin: float, end: float) -> list[_Span]:
    open_since: dict[str, tuple[float, DriftState]] = {}
    spans = []
    for report in reports:
        for alert in report.alerts:
            moment = alert.at.timestamp() - begin
            since, _ = open_since.get(alert.signal, (moment, alert.severity))
            open_since[alert.signal] = since, alert.severity
            if alert.stage is AlertStage.CLEARED:
                spans.append(_Span(alert.signal, since, moment, alert.severity))
                del open_since[alert.signal]
    return spans + [_Span(signal, since, end, severity) for signal, (since, severity) in open_since.items()]
