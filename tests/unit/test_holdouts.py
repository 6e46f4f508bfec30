"""Which parts people judge whatever the verdict: a keyed draw that nobody foresees and everybody can repeat."""

import json
import logging
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from camera_line import line_of
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neverblink.camera.holdout_keys import HoldoutError, Key, add_key, key_at, keys_in, others_may_read
from neverblink.camera.holdouts import Holdouts, drawn, marks_of, name_of
from neverblink.camera.marks import PLAIN
from neverblink.camera.triggers import Trigger
from neverblink.cli import app
from neverblink.events import Tracking
from neverblink.plant import EXAMPLE, HoldoutSettings

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
KEY = bytes(range(32))
ANOTHER = bytes([1, *range(1, 32)])  # one bit of 256 apart


def part(number: int, epoch: int = 3, at: datetime = NOW) -> Trigger:
    return Trigger(f"line-1/{epoch}/{number}", number, at, Tracking(epoch=epoch, number=number))


def numbers_drawn(key: bytes, count: int, share: float) -> set[int]:
    """Return the numbers of those of the parts 1 to `count` of line-1's epoch 3 that are drawn."""
    return {number for number in range(1, count + 1) if drawn(key, f"t/line-1/3/{number}", share)}


def is_drawn(key: bytes, trigger: Trigger, share: float, line: str = "line-1") -> bool:
    return drawn(key, name_of(line, trigger), share)


def apart(found: int, count: int, chance: float) -> float:
    """Return by how many standard deviations a count is from what chance gives."""
    return abs(found - count * chance) / math.sqrt(count * chance * (1 - chance))


def test_a_part_is_drawn_by_its_line_epoch_and_number() -> None:
    assert name_of("line-1", part(48211)) == "t/line-1/3/48211"


def test_of_a_million_parts_as_many_are_drawn_as_the_share_says() -> None:
    assert apart(len(numbers_drawn(KEY, 1_000_000, 0.01)), 1_000_000, 0.01) < 4


def test_who_has_another_key_does_not_guess_better_than_chance() -> None:
    """Nor who knows of each part but its key: neither number, nor what was drawn before, says what is drawn."""
    count, share = 100_000, 0.05
    real, guessed = numbers_drawn(KEY, count, share), numbers_drawn(ANOTHER, count, share)
    assert apart(len(real & guessed), count, share * share) < 4
    for step in (1, 2, 16, 256):
        assert apart(sum(number + step in real for number in real), len(real), share) < 4
    for bit in range(14):
        assert apart(sum(number >> bit & 1 for number in real), len(real), 0.5) < 4.5


@settings(max_examples=200, deadline=None)
@given(
    st.binary(min_size=32, max_size=32), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF),
    st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_the_draw_is_of_the_part_alone_and_a_larger_share_draws_the_same_and_more(
    key: bytes, epoch: int, number: int, share: float, other: float
) -> None:
    one = part(number, epoch)
    elsewhere = Trigger("named otherwise", 7, NOW + timedelta(hours=1), one.tracking, missed="no picture")
    low, high = sorted((share, other))
    assert is_drawn(key, one, share) == is_drawn(key, elsewhere, share)
    assert is_drawn(key, one, low) <= is_drawn(key, one, high)
    assert not is_drawn(key, one, 0)
    assert is_drawn(key, one, 1)


def test_parts_that_no_plc_counts_are_drawn_by_line_and_name() -> None:
    names = [Trigger(f"line-1/20260504T080000/{number}", 1, NOW) for number in range(20_000)]
    found = {line: [is_drawn(KEY, one, 0.1, line) for one in names] for line in ("line-1", "line-2")}
    assert apart(sum(found["line-1"]), 20_000, 0.1) < 4
    assert found["line-1"] != found["line-2"]
    assert found["line-1"] == [is_drawn(KEY, one, 0.1) for one in names]


def test_a_rotated_key_draws_from_its_instant_on_and_parts_of_before_as_before() -> None:
    keys = (Key(KEY), Key(ANOTHER, NOW))
    before = [part(number, at=NOW - timedelta(seconds=1)) for number in range(3000)]
    after = [part(number) for number in range(3000)]
    assert [marks_of(keys, "line-1", one, 0.3) for one in before] == [
        marks_of(keys[:1], "line-1", one, 0.3) for one in before
    ]
    assert [marks_of(keys, "line-1", one, 0.3).holdout for one in after] == [
        is_drawn(ANOTHER, one, 0.3) for one in after
    ]


def test_each_part_says_its_share_and_none_does_where_none_is_drawn() -> None:
    marks = [marks_of((Key(KEY, NOW),), "line-1", part(number), 0.25) for number in range(100)]
    assert {mark.holdout_share for mark in marks} == {0.25}
    assert {mark.holdout for mark in marks} == {True, False}
    assert marks_of((Key(KEY, NOW),), "line-1", part(1, at=NOW - timedelta(seconds=1)), 1) == PLAIN
    assert marks_of((Key(KEY),), "line-1", part(1), 0) == PLAIN
    assert marks_of((), "line-1", part(1), 1) == PLAIN


# The file of keys


def test_keys_are_kept_for_their_owner_alone_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "holdout.key"
    first, second = add_key(file, None), add_key(file, NOW)
    assert keys_in(file) == (first, second)
    assert (key_at(keys_in(file), NOW), key_at(keys_in(file), NOW - timedelta(seconds=1))) == (second, first)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not others_may_read(file)
    assert first.secret.hex() not in repr(first)
    with pytest.raises(HoldoutError, match="holds from 2026-05-04 08:00:00 UTC on: the next one must"):
        add_key(file, NOW)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no json", "is no file of holdout keys: the file: Invalid JSON"),
        ('{"keys": []}', "is no file of holdout keys: keys"),
        ('{"keys": [{"secret": "SECRET"}]}', "is no file of holdout keys: keys.0.secret"),
        (json.dumps({"keys": [{"secret": "a" * 64}, {"secret": "b" * 64}]}), "a later instant on than the one before"),
        ("x" * 1_100_000, "larger than any file"),
    ],
)
def test_a_file_that_holds_no_keys_is_told_without_what_it_holds(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "holdout.key"
    file.write_text(content)
    with pytest.raises(HoldoutError, match=told) as refused:
        keys_in(file)
    assert "SECRET" not in str(refused.value)
    assert "SECRET" not in repr(refused.value.__cause__)


def test_a_plant_that_wants_holdouts_and_has_no_key_is_refused_with_the_command(tmp_path: Path) -> None:
    file = tmp_path / "holdout.key"
    with pytest.raises(HoldoutError, match="make one with `neverblink holdouts key`"):
        Holdouts(HoldoutSettings(share=0.02, key=file))
    for silent in (HoldoutSettings(key=file), HoldoutSettings(share=0, key=file)):
        assert "no part of line-1 is drawn" in Holdouts(silent).told(line_of())
        assert Holdouts(silent).of(line_of())(part(1)) == PLAIN
    add_key(file, None)
    assert "1.000% of the parts of line-1 are holdouts" in Holdouts(HoldoutSettings(key=file)).told(line_of())
    assert "a share of 0" in Holdouts(HoldoutSettings(key=file, share=0)).told(line_of())


async def test_a_node_takes_a_rotated_key_and_keeps_its_keys_when_the_file_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "holdout.key"
    first = add_key(file, None)
    holdouts = Holdouts(HoldoutSettings(share=0.5, key=file))
    mark, parts = holdouts.of(line_of()), [part(number) for number in range(64)]

    def by(key: Key) -> list[bool]:
        return [is_drawn(key.secret, one, 0.5) for one in parts]

    assert [mark(one).holdout for one in parts] == by(first)
    second = add_key(file, NOW)
    holdouts.read_again()
    assert [mark(one).holdout for one in parts] == by(second)
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        holdouts.read_again()
        file.unlink()
        holdouts.read_again()
    assert "can be read by others" in caplog.text
    assert "is gone; parts go on to be drawn with the keys that were known" in caplog.text
    assert [mark(one).holdout for one in parts] == by(second)


def test_the_command_makes_a_key_then_the_next_and_prints_neither(tmp_path: Path) -> None:
    file, key = tmp_path / "plant.yaml", tmp_path / "holdout.key"
    file.write_text(EXAMPLE)
    made = CliRunner().invoke(app, ["holdouts", "key", "--plant", str(file)])
    assert made.exit_code == 0, made.output
    assert "line-1: 1.000% of the parts" in made.stdout
    begins = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds").replace("+00:00", "+0000")
    rotated = CliRunner().invoke(app, ["holdouts", "key", "--plant", str(file), "--from", begins])
    assert "1 earlier stay" in rotated.stdout
    for held in keys_in(key):
        assert held.secret.hex() not in made.output + rotated.output
