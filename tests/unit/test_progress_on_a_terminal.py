"""A job's bars on a terminal as people have them: every count and every stage can be read."""

import re
from io import StringIO

import pytest
from rich.console import Console

from neverblink.job_life.terminal import progress_bar


def last_frame(width: int, title: str) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    with progress_bar(console, title) as progress:
        progress("choosing the memory bank", 300_000, 400_000)
        progress("calibrating", 3, 400)
    assert isinstance(console.file, StringIO)
    whole = console.file.getvalue().split("\r")[-1]
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in whole.splitlines() if "left" in line]


@pytest.mark.parametrize("title", ["pcb", "magnetic-tile-of-the-second-supplier"])
def test_at_eighty_columns_every_stage_and_count_can_be_read(title: str) -> None:
    first, second = last_frame(80, title)
    assert "choosing the memory bank" in first
    assert "300000/400000" in first
    assert "calibrating" in second
    assert "3/400" in second
    assert "…" not in first + second
    assert max(map(len, (first, second))) <= 80


def test_a_wide_terminal_says_whose_job_it_is() -> None:
    first, _ = last_frame(140, "magnetic-tile-of-the-second-supplier")
    assert "magnetic-tile-of-the-second-supplier: choosing the memory bank" in first


def test_a_log_has_a_line_a_stage_and_one_every_half_minute_of_a_long_one() -> None:
    out, at = StringIO(), [0.0]
    with progress_bar(Console(file=out, width=80), "pcb", clock=lambda: at[0]) as progress:
        for done in range(1, 3073):
            progress("checking the pictures", done, 3072)
        for done in range(1, 101):
            at[0] += 1
            progress("extracting features", done, 100)
        progress("extracting features", 100, 100)
    assert out.getvalue().splitlines() == [
        "pcb: checking the pictures: 3072 of 3072, 0 s",
        "pcb: extracting features: 31 of 100, 30 s",
        "pcb: extracting features: 61 of 100, 60 s",
        "pcb: extracting features: 91 of 100, 90 s",
        "pcb: extracting features: 100 of 100, 99 s",
    ]
