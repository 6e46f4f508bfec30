"""What the console says, it says in every language: no bare string in a template, no sentence without translation."""

import re
from collections.abc import Iterator
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from neverblink.console.access.roles import Role
from neverblink.console.language import chosen, speech
from neverblink.console.words import WORDS
from neverblink.events import Decision, GateAction, Judgement, Outcome, Reason

ROOM = Path(__file__).resolve().parents[2] / "services/neverblink/console"
LANGUAGES = ("de",)
METHODS = [("**.py", "python"), ("templates/**.jinja", "jinja2")]
OPTIONS = {"templates/**.jinja": {"trimmed": "false", "newstyle_gettext": "true"}}
SAID = sorted(
    {
        name
        for path in ROOM.rglob("*.py")
        for name in re.findall(r"^class (\w+)\(SaidError\)", path.read_text(), re.MULTILINE)
    }
)
"""Refusals whose first argument is said in the language of whoever is refused."""

KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None, **dict.fromkeys(SAID)}
TEMPLATES = sorted((ROOM / "templates").rglob("*.jinja"))
SPOKEN = {"title", "aria-label", "placeholder", "alt", "aria-description"}
PLACE = re.compile(r"%\((\w+)\)[sd]")
# The program's own name, and what is written alike in every language.
OF_COMMANDS = {"learning", "scoring", "scoring labelled images", "measuring what is normal"}
"""Stages of `update`, and of a threshold chosen by labelled images: no page starts these."""

ALIKE = {"neverblink", "ms", "mm²", "px", "GiB"}


def said() -> dict[str, str]:
    """Return every sentence of the code and where it is said."""
    found = extract_from_dir(ROOM, METHODS, OPTIONS, KEYWORDS)
    return {
        sentence: f"{name}:{line}"
        for name, line, messages, _, _ in found
        for sentence in (messages if isinstance(messages, tuple) else (messages,))
        if sentence
    }


def without_jinja(text: str) -> str:
    """Return a template without what is translated, computed or said to nobody."""
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{% block body_class %\}.*?\{% endblock %\}", "", text)
    text = re.sub(r"\{% trans.*?%\}.*?\{% endtrans %\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL)
    return re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL)


class Spoken(HTMLParser):
    """Collects what a person would read or hear."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in SPOKEN and value]


def bare(text: str) -> list[str]:
    parser = Spoken()
    parser.feed(without_jinja(text))
    return [word for data in parser.found for word in re.findall(r"[^\W\d_]{2,}", data) if word not in ALIKE]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_says_anything_bare(template: Path) -> None:
    assert bare(template.read_text()) == []


def test_a_bare_string_would_be_found() -> None:
    text = '<p title="Hint">{% trans %}Said{% endtrans %} {{ shown }} {# why #}</p><b>Bare</b>'
    assert bare(text) == ["Hint", "Bare"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated_and_nothing_else_is(language: str) -> None:
    catalogue: dict[Any, Any] = {}
    for path in sorted((ROOM / "locales" / language).glob("*.po")):
        with path.open("rb") as file:
            own = {message.id: message for message in read_po(file, locale=language) if message.id}
        assert own.keys() & catalogue.keys() == set(), f"{path.name} says again what another catalogue says"
        catalogue |= own
    known = {part for key in catalogue for part in (key if isinstance(key, tuple) else (key,))}
    sentences = said()
    assert {sentence: place for sentence, place in sentences.items() if sentence not in known} == {}
    assert known - sentences.keys() == set()
    for key, message in catalogue.items():
        told = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(told), f"{key} has no translation"
        assert not message.fuzzy, f"{key} is translated by guess"
        source = key if isinstance(key, tuple) else (key,)
        places = {place for text in source for place in PLACE.findall(text)}
        for text in told:
            assert set(PLACE.findall(text)) <= places, f"{text} has a place that {key} does not fill"
            assert "%" not in PLACE.sub("", text).replace("%%", ""), f"{text}: a percent sign is written twice"


def translations() -> Iterator[str]:
    for language in LANGUAGES:
        yield from (text for text in said() if speech(language).gettext(text) == text)


def test_few_sentences_are_the_same_in_another_language() -> None:
    alike = list(translations())
    assert len(alike) < len(said()) / 50, alike


@pytest.mark.parametrize(
    ("kind", "closed"),
    [
        ("decision", Decision),
        ("reason", Reason),
        ("outcome", Outcome),
        ("gate", GateAction),
        ("judgement", Judgement),
        ("role", Role),
    ],
)
def test_every_word_that_events_and_roles_may_have_is_said_in_the_page_s_language(
    kind: str, closed: type[Enum]
) -> None:
    words = {one.value if isinstance(one.value, str) else one.name.lower() for one in closed}
    assert words - WORDS[kind].keys() == set()


def test_every_stage_that_a_page_s_job_tells_is_said_in_its_language() -> None:
    told = {
        stage
        for room in (
            "trainer/fitting",
            "trainer/collecting",
            "qualification",
            "trainer/promises",
            "trainer/offline_inspection/trying_out.py",
        )
        for path in (ROOM.parent / room).rglob("*.py")
        for stage in re.findall(r'(?:progress\(|stage: str = )"([^"]+)"', path.read_text())
    }
    assert "calibrating" in told
    assert told - WORDS["stage"].keys() - OF_COMMANDS == set()


@pytest.mark.parametrize(
    ("cookie", "accepted", "spoken"),
    [
        (None, None, "en"),
        ("de", "en", "de"),
        (None, "de-DE,de;q=0.9,en;q=0.8", "de"),
        (None, "fr, de;q=0.5, en;q=0.9", "en"),
        ("xx", "de;q=nonsense", "en"),
        (None, "*", "en"),
    ],
)
def test_the_chosen_language_is_spoken_else_what_the_browser_asks_for(
    cookie: str | None, accepted: str | None, spoken: str
) -> None:
    assert chosen(("en", "de"), cookie, accepted) == spoken
