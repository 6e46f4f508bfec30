"""Named regions on a page: rows of a form that become the file of a fit, and what is wrong said beside its field."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.console.onboarding.canvas import Canvas
from neverblink.console.onboarding.named import (
    Draft,
    checked,
    draft_from,
    draft_of,
    examples_of,
    keep,
    kept,
    said,
)
from neverblink.vision.named_regions.spec import RegionsFile

CANVAS = Canvas("upright", "upright.jpg", 800, 340)
SQUARE = "10,10 100,10 100,90.5 10,90"


def form(*rows: dict[str, str], rest: str = "judged") -> Draft:
    fields = {f"{name}-{number}": value for number, row in enumerate(rows) for name, value in row.items()}
    return draft_from(lambda name, longest: {**fields, "rest": rest}.get(name, "")[:longest])


def row(name: str, **more: str) -> dict[str, str]:
    return {"name": name, "polygon": SQUARE, **more}


def written(*rows: dict[str, str], rest: str = "judged") -> RegionsFile:
    draft = form(*rows, rest=rest)
    found = checked(draft, CANVAS)
    assert not draft.wrong
    assert found is not None
    return found


def test_what_is_drawn_is_kept_as_a_file_and_read_back_the_same(tmp_path: Path) -> None:
    regions = written(
        row("connector", share="25"), row("label", kind="ignored"), {}, row("screw-2", kind="presence", share="12,5")
    )
    name = keep(tmp_path, regions, {}, None)
    assert kept(tmp_path, name) == regions
    assert [(one.name, one.kind, one.share) for one in regions.regions] == [
        ("connector", "judged", 0.25), ("label", "ignored", None), ("screw-2", "presence", 0.125),
    ]  # fmt: skip
    again = draft_of(kept(tmp_path, name))
    assert checked(again, CANVAS) == regions
    assert keep(tmp_path, regions, {}, name) == name, "the same regions are the same file"
    assert kept(tmp_path, "../../etc/passwd") is None
    assert kept(tmp_path, keep(tmp_path, None, {}, name)) is None


@pytest.mark.parametrize(
    ("rows", "place", "fault"),
    [
        ([row("two words")], (0, "name"), "make a name"),
        ([row("rest")], (0, "name"), "is what no region covers"),
        ([row("a"), row("a")], (1, "name"), "has this name already"),
        ([row("a", share="x")], (0, "share"), "between 0 and 100"),
        ([row("a", share="101")], (0, "share"), "between 0 and 100"),
        ([row("a", share="5", kind="ignored")], (0, "share"), "rejects nothing"),
        ([row("a", polygon="1,1 2,2")], (0, "polygon"), "3 to 200 corners"),
        ([row("a", polygon="1,1 2,2 nan,3")], (0, "polygon"), "written x,y in pixels"),
        ([row("a", polygon="1,1 801,2 3,3")], (0, "polygon"), "outside the picture of 800 × 340"),
        ([row("a", polygon="-1,1 8,2 3,3")], (0, "polygon"), "outside the picture"),
        ([row("a", polygon="1,1 2,2 3,3")], (0, "polygon"), "no area"),
        ([row("a", kind="nonsense")], (0, "kind"), "judged"),
        ([row("a", polygon="1,1 9,9 1,9 " * 100)], (0, "polygon"), "3 to 200 corners"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(rows: list[dict[str, str]], place: tuple[int, str], fault: str) -> None:
    draft = form(*rows)
    assert checked(draft, CANVAS) is None
    told = {
        (number, name): text
        for number, one in enumerate(said(draft, lambda text: text).rows)
        for name, text in one.faults.items()
    }
    assert told.keys() == {place}
    assert fault in str(told[place])


def test_what_is_wrong_with_all_of_them_is_said_above_them() -> None:
    for draft, fault in (
        (form(row("a", share="60"), row("b", share="50")), "add up to 1.1"),
        (form(row("a", kind="ignored"), rest="ignored"), "no region is judged"),
        (form(*(row(f"r{number}", polygon="1,1 9,1 9,9 " * 60) for number in range(12))), "simpler"),
    ):
        assert checked(draft, CANVAS) is None
        assert fault in str(draft.fault)


def test_examples_follow_their_region_when_it_gets_another_name_and_go_with_it(tmp_path: Path) -> None:
    first = keep(tmp_path, written(row("a", kind="presence"), row("b", kind="presence")), {}, None)
    for name in ("a", "b"):
        place = tmp_path / "regions/examples" / name / "absent"
        place.mkdir(parents=True)
        (place / f"{name}.png").write_bytes(b"picture")
    swapped = written(row("b", kind="presence"), row("a", kind="presence"))
    second = keep(tmp_path, swapped, {"a": "b", "b": "a"}, first)
    assert second != first
    regions = kept(tmp_path, second)
    assert examples_of(tmp_path, regions) == {
        "b": {"absent": ["a.png"], "wrong": [], "turned": []}, "a": {"absent": ["b.png"], "wrong": [], "turned": []},
    }  # fmt: skip
    assert regions is not None
    assert regions.regions[0].examples == {"absent": tmp_path / "regions/examples/b/absent"}
    keep(tmp_path, written(row("b")), {"b": "b"}, second)
    assert list((tmp_path / "regions/examples").iterdir()) == [], "what is no presence check has no examples"


CORNER = st.tuples(st.integers(0, 8000), st.integers(0, 3400)).map(lambda pair: f"{pair[0] / 10:g},{pair[1] / 10:g}")


@settings(max_examples=40)
@given(st.lists(st.lists(CORNER, min_size=3, max_size=6), min_size=1, max_size=4))
def test_whatever_is_taken_is_shown_again_as_it_was(polygons: list[list[str]]) -> None:
    rows = [{"name": f"r{number}", "polygon": " ".join(polygon)} for number, polygon in enumerate(polygons)]
    draft = form(*rows)
    found = checked(draft, CANVAS)
    assert (found is None) == draft.wrong
    if found is not None:
        assert [one.polygon for one in draft_of(found).rows] == [one["polygon"] for one in rows]
