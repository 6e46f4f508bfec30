"""What drift, ledger and alignment say in events is said in the page's language, and nothing else is touched."""

import ast
import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.console.alarms.phrases import SENTENCES, SIGNALS, phrase
from neverblink.console.language import speech
from neverblink.drift import causes
from neverblink.ledger.challenges import findings
from neverblink.vision.alignment import aligner
from neverblink.vision.alignment.spec import AlignmentSpec
from neverblink.vision.alignment.spread import Spread

GERMAN = speech("de").gettext


def test_every_cause_step_and_signal_of_drift_is_said_in_german() -> None:
    told = [text for words in causes._WORDS.values() for text in words]
    assert [text for text in told if phrase(text, GERMAN) == text] == []
    assert set(causes._NAMES.values()) <= set(SIGNALS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "brightness fell 6.6 % (from 0.422 to 0.394) since 2026-03-02 08:00",
            "Helligkeit fiel um 6.6 % (von 0.422 auf 0.394) seit 2026-03-02 08:00",
        ),
        (
            "the reject rate rose from 2.1 % to 9 % since 2026-03-02 08:00: 40 of 440",
            "Ausschussquote stieg von 2.1 % auf 9 % seit 2026-03-02 08:00: 40 of 440",
        ),
        (
            "reference part r1 (a scratch) passed line-1 (1-77, at 0.81 of the threshold)",
            "Referenzteil r1 (a scratch) ging auf line-1 durch (1-77, beim 0.81-Fachen der Schwelle)",
        ),
        ("the model, its threshold or the picture no longer shows this defect", "das Modell, seine Schwelle oder"),
        ("100 %(line)s of what nobody knows", "100 %(line)s of what nobody knows"),
        ("", ""),
    ],
)
def test_a_sentence_keeps_what_stands_in_its_places(text: str, said: str) -> None:
    assert phrase(text, GERMAN).startswith(said)


def test_everything_that_the_ledger_says_of_reference_parts_is_said_in_german() -> None:
    part: Any = SimpleNamespace(
        line="line-1", part="1-77", reference="r1", ratio=0.81, artifact="pcb 4", defects=("scratch",), reason="late"
    )
    good, bad = (SimpleNamespace(id="r1", is_good=one, in_words="a scratch") for one in (True, False))
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    owed: Any = SimpleNamespace(reference="r1", line="line-1", begins=noon, ends=noon, because="due at noon")
    told = (
        findings._missed(part, cast("Any", good)), findings._missed(part, cast("Any", bad)), findings._unscored(part),
        findings._unknown(part), findings._not_come(owed),
    )  # fmt: skip
    said = [text for one in told for text in (one.what, one.cause, one.next_step)]
    assert [text for text in said if phrase(text, GERMAN) == text] == []


def test_everything_that_is_said_of_how_parts_lie_is_said_in_german() -> None:
    told = [Spread(8, 0.13, turned).sentence() for turned in (0.0, 77.0)]
    size = {"width": 352, "height": 312}
    kinds = ("silhouette", "template")
    told += [
        AlignmentSpec.model_construct(kind=kind, turns=turns, **size).sentence()
        for kind in kinds
        for turns in (0, 1, 2)
    ]
    told += list(_reasons_of(aligner))
    assert len(told) == 18
    assert [text for text in told if phrase(text, GERMAN) == text] == []


def _reasons_of(module: ModuleType) -> Iterator[str]:
    """Yield what a module says when no part is found, a number in each of its places."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id="NotFoundError"), args=[said])):
                pieces = said.values if isinstance(said, ast.JoinedStr) else [said]
                yield "".join(str(one.value) if isinstance(one, ast.Constant) else "0.5" for one in pieces)


@given(st.text(max_size=600) | st.sampled_from(SENTENCES))
def test_in_the_language_of_events_nothing_is_changed(text: str) -> None:
    assert phrase(text.replace("%%", "%"), str) == text.replace("%%", "%")
