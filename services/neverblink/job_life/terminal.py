"""A job on a terminal: one bar a stage, one line a sentence."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from neverblink.job_life.progress import Progress as Report
from neverblink.shown import visible

_WIDE = 110
"""Columns from which on a bar may take what is left."""

_SHORT_BAR = 12
_COUNTED = 38
"""Columns that counts of six digits, times and what stands between them take."""


_TOLD_EVERY_S = 30.0


@contextmanager
def progress_bar(console: Console, title: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Report]:
    """Show one bar per stage of a job, with what is left of it; `title` is said before each stage.

    Where nobody looks on (a file, a pipe) a stage is a line when it ends, and one every half minute until then.
    """
    if not console.is_terminal:
        yield _lines(console, title, clock)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=40 if console.width >= _WIDE else _SHORT_BAR),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def stage_done(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                named = _fitting(title, stage, console.width)
                tasks[stage] = progress.add_task(shown(named), total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield stage_done


def _lines(console: Console, title: str, clock: Callable[[], float]) -> Report:
    began: dict[str, float] = {}
    told: dict[str, float] = {}
    ended: set[str] = set()

    def stage_done(stage: str, done: int, total: int) -> None:
        now = clock()
        since = began.setdefault(stage, now)
        over = done >= total
        if stage in ended or not (over or now - told.get(stage, since) >= _TOLD_EVERY_S):
            return
        told[stage] = now
        if over:
            ended.add(stage)
        whole = f"{title}: {stage}" if title else stage
        say(console, f"{whole}: {done} of {total}, {now - since:.0f} s")

    return stage_done


def _fitting(title: str, stage: str, width: int) -> str:
    """Return what a bar is called: where a terminal is narrow the title gives way, so that every count can be read."""
    whole = f"{title}: {stage}" if title else stage
    room = width - _COUNTED - _SHORT_BAR
    if width >= _WIDE or len(whole) <= room:
        return whole
    return stage if len(stage) <= room else f"{stage[: max(1, room - 1)]}…"


def shown(text: str) -> str:
    """Return a text of others as a terminal may print it: neither markup nor control characters in it are obeyed."""
    return escape(visible(text, but="\n"))


def say(console: Console, sentence: str) -> None:
    """Print a sentence as it is: paths and digests neither break at the terminal's edge nor count as markup."""
    console.print(shown(sentence), soft_wrap=True, highlight=False)
