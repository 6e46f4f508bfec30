"""In which language a page speaks: catalogues are read as their translators wrote them, there is nothing to build.

A language's folder has a catalogue for each kind of page; together they are one, in which no sentence stands twice.
"""

import gettext
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

COOKIE = "neverblink_language"
SOURCE = "en"
"""The language of the sentences in the code."""


def N_(sentence: str) -> str:  # noqa: N802 - the name by which translators' tools know it
    """Return a sentence that is translated where it is shown."""
    return sentence


@cache
def speech(language: str) -> gettext.NullTranslations:
    """Return what translates into a language; English is what the code says."""
    if language == SOURCE:
        return gettext.NullTranslations()
    whole = Catalog(locale=language)
    for file in sorted((files("neverblink.console") / "locales" / language).iterdir(), key=lambda one: one.name):
        if file.name.endswith(".po"):
            for message in read_po(BytesIO(file.read_bytes()), locale=language):
                if message.id:
                    whole[message.id] = message
    compiled = BytesIO()
    write_mo(compiled, whole)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def name_of(language: str) -> str:
    """Return what a language calls itself."""
    own = Locale.parse(language).get_display_name(language)
    return (own or language).capitalize()


def chosen(languages: Sequence[str], cookie: str | None, accepted: str | None) -> str:
    """Return which of the languages to speak: the chosen one, else what the browser asks for, else the first."""
    if cookie in languages:
        return str(cookie)
    wishes: list[tuple[float, int, str]] = []
    for place, wish in enumerate((accepted or "")[:200].split(",")):
        word, _, weight = wish.partition(";")
        try:
            wishes.append((-float(weight.strip().removeprefix("q=") or 1), place, word.strip()[:2].lower()))
        except ValueError:
            continue
    return next((word for _, _, word in sorted(wishes) if word in languages), languages[0])
