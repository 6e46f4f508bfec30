"""Pages from templates: whatever they are given is escaped, what they are not given is an error."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from typing import Any

from babel.numbers import format_decimal, get_decimal_symbol
from jinja2 import Environment, PackageLoader, StrictUndefined

from neverblink.console.alarms.phrases import phrase
from neverblink.console.language import speech
from neverblink.console.static_files import address_of
from neverblink.console.words import WORDS
from neverblink.shown import visible


@dataclass(frozen=True, slots=True)
class Rendering:
    """Renders templates in one language, instants in the plant's zone."""

    language: str
    zone: tzinfo

    @property
    def gettext(self) -> Callable[[str], str]:
        """Return what translates a sentence."""
        return speech(self.language).gettext

    def page(self, name: str, values: Mapping[str, Any]) -> str:
        """Return a template's text."""
        return _environment(self.language).get_template(name).render(**values, zone=self.zone)


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("neverblink.console"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = speech(language)
    environment.install_gettext_callables(said.gettext, said.ngettext, newstyle=True)  # type: ignore[attr-defined]

    def word(value: str | None, kind: str) -> str:
        known = WORDS[kind].get(value or "")
        return said.gettext(known) if known else visible(value or "")

    def number(value: float | None, digits: int = 0) -> str:
        if value is None:
            return "–"
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return format_decimal(value, format=pattern, locale=language)

    def significant(value: float | None, digits: int = 4) -> str:
        if value is None or value == 0 or not math.isfinite(value):
            return "–" if value is None else number(0)
        return number(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))

    def percent(value: float | None, digits: int = 1) -> str:
        # A share is cut, not rounded: 99.96 % good is not 100.0 %.
        if value is None:
            return "–"
        scale = 10 ** (digits + 2)
        return number(int(value * scale + 1e-9) / 10**digits, digits) + " %"

    sign = get_decimal_symbol(language)

    def decimal(value: float | str) -> str:
        # What was rounded elsewhere, as a share to the places that its interval is worth, is said as it is.
        return (value if isinstance(value, str) else f"{value:g}").replace(".", sign)

    environment.filters |= {
        "word": word, "number": number, "percent": percent, "decimal": decimal, "instant": instant, "clock": clock,
        "day": day, "plain": visible, "since": since, "significant": significant,
        "phrase": lambda text: phrase(visible(text or ""), said.gettext),
    }  # fmt: skip
    environment.globals |= {"language": language, "static": address_of}
    return environment


def instant(moment: datetime | None, zone: tzinfo, digits: int = 0) -> str:
    """Return a date and time in a zone, the same in every language: 2026-03-02 14:05:09."""
    if moment is None:
        return "–"
    shown = moment.astimezone(zone)
    text = f"{shown:%Y-%m-%d %H:%M:%S}"
    return f"{text}.{shown.microsecond:06d}"[: len(text) + 1 + digits] if digits else text


def clock(moment: datetime | None, zone: tzinfo) -> str:
    """Return a time of day in a zone: 14:05:09."""
    return "–" if moment is None else f"{moment.astimezone(zone):%H:%M:%S}"


def day(moment: datetime, zone: tzinfo) -> str:
    """Return a date in a zone: 2026-03-02."""
    return f"{moment.astimezone(zone):%Y-%m-%d}"


def since(seconds: float, zone: tzinfo) -> str:
    """Return a date and time of seconds since the epoch."""
    return instant(datetime.fromtimestamp(seconds, zone), zone)
