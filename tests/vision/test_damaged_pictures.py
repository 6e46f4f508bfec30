"""A damaged picture is refused wherever its format lets anyone know, and a whole one never is."""

import random
from collections import Counter
from functools import cache

import cv2
import numpy as np
import pytest

from neverblink.vision.decode import decode
from rigs.picture_damage import (
    DEPTH,
    FORMATS,
    HARMLESS,
    KINDS,
    NOT_TOLD,
    Damaged,
    Format,
    Outcome,
    Whole,
    damaged,
    drawn,
    outcome,
    real,
    wholes,
)

FEWEST = 200
"""Harmed variants of each format."""

Outcomes = dict[str, Counter[Outcome]]


@cache
def corpus(kind: Format) -> tuple[tuple[Whole, Whole], ...]:
    """Every file with the next picture of its camera behind it."""
    files, others = (wholes(drawn(seed) + real(seed)) for seed in (0, 1))
    return tuple((one, other) for one, other in zip(files, others, strict=True) if one.format == kind)


@cache
def outcomes(kind: Format) -> tuple[Outcomes, list[Damaged]]:
    """What became of every damaged file, by the damage, and those that decode otherwise."""
    rng = random.Random(16)
    found: Outcomes = {name: Counter() for name in KINDS}
    otherwise = []
    files = corpus(kind)
    # Without the real pictures the drawn ones are damaged more often.
    for whole, other in files * (1 + FEWEST // (10 * len(files))):
        pixels = decode(whole.data, depth=DEPTH)
        for one in damaged(whole, other, rng):
            result = outcome(one, pixels)
            found[one.kind][result] += 1
            if result == "otherwise":
                otherwise.append(one)
    return found, otherwise


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_picture_has_the_pixels_that_opencv_finds(kind: Format) -> None:
    for whole, _ in corpus(kind):
        twelve = "12 bits" in whole.name
        flags = cv2.IMREAD_UNCHANGED if twelve else cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        expected = np.asarray(cv2.imdecode(np.frombuffer(whole.data, np.uint8), flags))
        if twelve:
            expected = np.repeat((expected >> 4)[..., None], 3, axis=2)
        np.testing.assert_array_equal(decode(whole.data, depth=DEPTH), expected, err_msg=whole.name)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_leaves_a_picture_whole_is_no_fault(kind: Format) -> None:
    found, _ = outcomes(kind)
    for harmless in HARMLESS:
        assert set(found[harmless]) == {"identical"}, (harmless, found[harmless])


@pytest.mark.parametrize("kind", FORMATS)
def test_no_damage_passes_that_the_format_can_tell(kind: Format) -> None:
    found, otherwise = outcomes(kind)
    missed = [f"{one.kind}: {one.whole.name}" for one in otherwise if one.kind not in NOT_TOLD[kind]]
    assert not missed
    variants = sum(sum(found[name].values()) for name in KINDS if name not in HARMLESS)
    assert variants >= FEWEST


def test_deflate_in_a_tiff_tells_all_that_happens_to_its_strips() -> None:
    _, otherwise = outcomes("TIFF")
    missed = [one.kind for one in otherwise if one.whole.name.startswith("Deflate")]
    assert set(missed) <= {"bit of the header"}
