"""Figures as people read them, alike in every report."""


def share(value: float | None) -> str:
    """Return a share as a percentage to one place; none of them is rounded to a perfect one, and – is no share."""
    if value is None:
        return "–"
    text = f"{100 * value:.1f}"
    if text == "100.0" and value < 1:
        text = "99.9"
    return f"{text} %"


def percent(value: float) -> str:
    """Return a share as a percentage with three figures, for small ones; none is rounded to a perfect one."""
    return "99.9 %" if 0.9995 <= value < 1 else f"{100 * value:.3g} %"


def between(interval: tuple[float, float]) -> str:
    """Return an interval of shares as percentages, with as many places as they are worth."""
    low, high = (100 * value for value in interval)
    places = 1 if high < 10 else 0
    return f"{low:.{places}f}–{high:.{places}f} %"


def figure(value: float | None) -> str:
    """Return a figure of merit to four places; none is rounded to a perfect one, and – is none."""
    if value is None:
        return "–"
    return "0.9999" if 0.9999 < value < 1 else f"{value:.4f}"


def ratio(value: float) -> str:
    """Return a ratio to two places, with more for what would look like none."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def of_threshold(value: float) -> str:
    """Return a score as a share of its threshold."""
    return f"{value:.2f}"


def whole(value: int) -> str:
    """Return a number with its thousands apart."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
