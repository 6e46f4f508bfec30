"""Jobs that come before a fit."""

from collections import Counter

from rich.table import Table

from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.job_life.terminal import shown
from neverblink.trainer.collecting.results import LookOverResult, PartsLie
from neverblink.trainer.collecting.settings import LookOverJob

_LISTED = 20


def _look_over(job: LookOverJob, teller: Teller) -> LookOverResult:
    from neverblink.trainer.collecting.jobs import run_look_over

    return run_look_over(job, teller.progress)


def _show(_: LookOverJob, done: LookOverResult, screen: Screen) -> None:
    """Print what a person should look at."""
    for note in done.notes:
        screen.say(note)
    if done.taken is not None:
        unreadable = f"; {done.unreadable} cannot be read" if done.unreadable else ""
        screen.say(f"{done.taken} of {done.frames} frames were taken{unreadable}")
    odd = [one for one in done.pictures if one.odd or one.copy_of]
    table = Table("picture", "what is odd")
    for lost in done.unusable[:_LISTED]:
        table.add_row(shown(lost.path), shown(f"cannot be used: {lost.reason}"))
    for one in odd[:_LISTED]:
        copy = () if one.copy_of is None else (f"{'nearly ' if one.near else ''}a copy of {one.copy_of}",)
        table.add_row(shown(one.path), shown(", ".join((*one.odd, *copy))))
    if done.unusable or odd:
        screen.tables(table)
        more = max(0, len(done.unusable) - _LISTED) + max(0, len(odd) - _LISTED)
        if more:
            screen.say(f"and {more} more: --progress json tells all")
    if done.parts is not None:
        _show_parts(done.parts, screen)
    kinds = "".join(f", {count} {kind}" for kind, count in Counter(done.defects).items())
    promise = "" if done.false_reject is None else f": they promise at most {done.false_reject:.1%} false rejects"
    screen.say(
        f"{len(done.pictures)} pictures can be used, {len(done.unusable)} cannot{kinds};"
        f" {done.witnesses} count{promise}"
    )


def _show_parts(parts: PartsLie, screen: Screen) -> None:
    """Print how the parts lie, and where they are not found."""
    for sentence in (parts.spread, parts.refused, parts.told):
        if sentence is not None:
            screen.say(shown(sentence))
    if parts.lost:
        table = Table("picture", "why no part is found in it")
        for one in parts.lost[:_LISTED]:
            table.add_row(shown(one.path), shown(one.why))
        screen.tables(table)
    if parts.kind is not None:
        screen.say(f"parts are found in {parts.found} pictures, and not in {parts.not_found}")


command(
    "look-over",
    Job(
        settings=LookOverJob, result=LookOverResult, work=_look_over, told=lambda _, done: done, show=_show,
        title=lambda job: job.images.name, good=lambda done: bool(done.pictures),
    ),
    text="""Look pictures over before a fit: unusable ones, copies, odd ones.

    `neverblink look-over pictures/pcb` says what cannot be used, what repeats another picture, and what is darker,
    brighter, flatter, more blurred than the others or unlike them.

    `neverblink look-over pictures/pcb --station line-1/top --from 2026-11-01T06:00 --plant plant.yaml` takes frames
    of the running line first.

    `neverblink look-over pictures/screws --align auto` also says how parts lie that are not held, and in which pictures
    none is found.
    """,
)  # fmt: skip
