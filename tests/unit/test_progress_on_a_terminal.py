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
