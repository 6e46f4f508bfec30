"""Answers of the records as people read them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.table import Table

from neverblink.job_life.terminal import shown
from neverblink.records.questions.figures import Figures, Share
from neverblink.records.questions.pareto import Pareto
from neverblink.records.questions.part_story import PartStory
from neverblink.records.questions.parts import Part
from neverblink.records.questions.yields import YieldOf

_COLOURS = {"pass": "green", "reject": "red", "unscored": "yellow"}

_FIGURES = (
    ("passed", "passed"),
    ("rejected", "rejected"),
    ("unscored", "unscored"),
    ("late", "late"),
    ("unsure", "unsure"),
    ("told_in_time", "told in time, of those told"),
    ("gate_escaped", "gate passed what we did not"),
    ("gate_lost", "gate threw out what we passed"),
    ("reviewed", "reviewed"),
    ("inconclusive", "reviewed without an answer"),
    ("false_rejects", "false rejects, of rejects reviewed"),
    ("escapes", "escapes, of passes reviewed"),
)


def parts_table(parts: Sequence[Part]) -> Table:
    """Return a page of parts, one a row."""
    table = Table("id", "triggered", "line", "part", "product", "decision", "reason", "told", "gate", "judged")
    for heading in ("lot", "serial"):
        table.add_column(heading)
    for part in parts:
        table.add_row(
            str(part.id), _when(part.triggered), shown(part.line), shown(_name(part)), shown(part.product or "–"),
            _decision(part.decision), shown(part.reason or "–"), shown(part.told_outcome or "–"),
            shown(part.gate or "–"), shown(part.judgement or "–"), shown(part.lot or "–"), shown(part.serial or "–"),
        )  # fmt: skip
    return table


def story_lines(story: PartStory) -> Iterator[str | Table]:
    """Yield what is known of one part, in the order in which it happened."""
    part = story.part
    yield f"[bold]part {part.id}[/bold]  {shown(part.line)}  {shown(_name(part))}  {_when(part.triggered)}"
    identity = {
        "product": part.product, "order": part.order, "lot": part.lot, "serial": part.serial, "recipe": part.recipe,
        "carrier": part.carrier, **(part.attributes or {}), "shift": part.shift or None, "trace": part.trace_id,
    }  # fmt: skip
    yield "  " + ", ".join(f"{shown(name)} {shown(value)}" for name, value in identity.items() if value is not None)
    reason = "" if part.reason is None else f", {shown(part.reason)}"
    yield f"  decision {_decision(part.decision)}{reason}; judged {shown(part.judgement or 'by nobody yet')}"
    for verdict in story.verdicts:
        ratio = "no score" if verdict.ratio is None else f"{verdict.ratio:.2f} of threshold"
        detail = "" if verdict.detail is None else f": {shown(verdict.detail)}"
        yield (
            f"  {_when(verdict.captured)}  {shown(verdict.station)}: {_decision(verdict.decision)}, {ratio}, model"
            f" {shown(verdict.artifact_name or '–')} {shown(verdict.artifact_version or '')}{detail}"
        )
        for defect in verdict.defects:
            yield (
                f"      {shown(defect.type)} at {defect.x},{defect.y}, {defect.width}×{defect.height} px"
                f"{'' if defect.area_mm2 is None else f', {defect.area_mm2:.2f} mm²'}"
            )
    for act in story.actuations:
        what = f"told {act.decision}: {act.outcome}" if act.stage == "told" else f"gate: {act.gate}"
        yield f"  {_when(act.at)}  {shown(what)}"
    for review in story.reviews:
        taken_back = " (taken back)" if review.withdrawn else ""
        yield f"  {_when(review.at)}  {shown(review.reviewer)} found {shown(review.judgement)}{taken_back}"
    for picture in story.pictures:
        gone = "" if picture.deleted is None else f", deleted {_when(picture.deleted)}"
        size = f"{picture.bytes} bytes, {shown(picture.digest)}"
        yield f"  {shown(picture.kind)} of {shown(picture.station)}, {size}{gone}"


def yield_table(by: str, groups: Iterable[YieldOf]) -> Table:
    """Return the yield of each group."""
    table = Table(by)
    for heading in ("parts", "pass", "reject", "unscored", "late", "unsure", "yield"):
        table.add_column(heading, justify="right")
    for one in groups:
        counts = (one.parts, one.passed, one.rejected, one.unscored, one.late, one.unsure)
        share = "–" if one.good_share is None else f"{one.good_share:.2%}"
        table.add_row(shown(one.group or "–"), *map(str, counts), share)
    return table


def pareto_table(of: str, found: Pareto) -> Table:
    """Return the words, most frequent first."""
    table = Table(of, title=f"{found.counted} in all", title_justify="left")
    for heading in ("count", "share", "cumulative"):
        table.add_column(heading, justify="right")
    for one in found.words:
        table.add_row(shown(one.word), str(one.count), f"{one.share:.1%}", f"{one.cumulative:.1%}")
    return table


def figures_table(found: Figures) -> Table:
    """Return each share with its sample."""
    since, until = (None if at is None else _when(at) for at in (found.since, found.until))
    table = Table(f"{found.parts} parts", title=f"from {since or 'the beginning'} to {until or 'now'}")
    table.title_justify = "left"
    for heading in ("count", "of", "share"):
        table.add_column(heading, justify="right")
    for name, words in _FIGURES:
        share: Share = getattr(found, name)
        table.add_row(words, str(share.count), str(share.sample), "–" if share.share is None else f"{share.share:.2%}")
    return table


def _name(part: Part) -> str:
    return part.part or ("–" if part.number is None else f"{part.epoch}-{part.number}")


def _decision(word: str | None) -> str:
    colour = _COLOURS.get(word or "", "white")
    return f"[{colour}]{shown(word or '–')}[/{colour}]"


def _when(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="milliseconds")
