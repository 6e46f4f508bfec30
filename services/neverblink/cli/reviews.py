"""Reviews: what waits for a person, who takes it, and what people say. Claims and answers are events."""

import asyncio
import getpass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, read_plant, review_app, wide_console

if TYPE_CHECKING:
    from neverblink.plant import Plant
    from neverblink.records.questions.review_queue import DefectSeen, Judged, Waiting, WaitingCount
    from neverblink.reviewing import Answer, Answered, Desk, Seen, Taken
    from neverblink.reviewing.desk import Where

BY = Annotated[str | None, typer.Option("--by", help="Who judges. Default: the user of this machine.")]
LINES = Annotated[list[str] | None, typer.Option("--line", help="Parts of a line; may be given again.")]
STATION = Annotated[str | None, typer.Option("--station", help="LINE/STATION.")]
PRODUCT = Annotated[str | None, typer.Option("--product", help="Parts of a product.")]
OF_STATION = Annotated[
    str | None, typer.Option("--station", help="LINE/STATION or the station's name, for a part that several judged.")
]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_NAMED = "Verdict id, or the part's serial number or name."


@review_app.command("list")
def review_list(
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATION = None,
    product: PRODUCT = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many are shown.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on behind a cursor that an earlier list ended with.")] = None,
    by: BY = None,
    as_json: AS_JSON = False,
) -> None:
    """Show what waits for a person: the worst first, the oldest first within; what you answered is left out."""
    described = read_plant(plant)
    where = _where(described, line, station, product)
    page, counts = asyncio.run(_desk(described, by).waiting(where, limit, after))
    if as_json:
        _print_json(
            {
                "waiting": [_waiting(row) for row in page.rows],
                "counts": {one.severity.word: {"count": one.count, "more": one.more} for one in counts},
                "cursor": page.cursor,
            }
        )
        return
    console = wide_console()
    if not page.rows:
        console.print("nothing waits for a person")
        return
    console.print(_table(page.rows))
    console.print(f"waiting: {_told_counts(counts)}", highlight=False)
    if page.cursor is not None:
        console.print(f"more: --after {page.cursor}", highlight=False, soft_wrap=True)


@review_app.command("take")
def review_take(
    verdict: Annotated[str | None, typer.Argument(help=f"{_NAMED} Default: the first that waits.")] = None,
    plant: PLANT = DEFAULT_PLANT,
    line: LINES = None,
    station: STATION = None,
    product: PRODUCT = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, max=240, help="How long it is yours. Default: as the plant file says.")
    ] = None,
    put_back: Annotated[bool, typer.Option("--put-back", help="Give a verdict that you hold back.")] = False,
    by: BY = None,
    as_json: AS_JSON = False,
) -> None:
    """Take what waits, so that nobody else judges it meanwhile; what you hold already comes first.

    `neverblink review take --line line-1 --minutes 10`
    """
    if put_back and verdict is None:
        raise typer.BadParameter("name the verdict that is put back")
    described = read_plant(plant)
    desk = _desk(described, by)
    if put_back and verdict is not None:
        judged = asyncio.run(desk.put_back(verdict, station))
        _tell(as_json, {"put_back": _judged(judged)}, f"{judged.part} of {judged.key} is free for others again")
        return
    if verdict is not None:
        taken: Taken | None = asyncio.run(desk.take_named(verdict, station, minutes))
    else:
        taken = asyncio.run(desk.take(_where(described, line, station, product), minutes))
    if taken is None:
        _tell(as_json, {"taken": None}, "nothing waits that is free")
        return
    _tell(as_json, {"taken": _taken(taken)}, _told_taken(taken))


@review_app.command("answer")
def review_answer(
    verdict: Annotated[str | None, typer.Argument(help=_NAMED)] = None,
    judgement: Annotated[str | None, typer.Argument(help="NORMAL, DEFECT or INCONCLUSIVE.")] = None,
    plant: PLANT = DEFAULT_PLANT,
    defect_type: Annotated[str | None, typer.Option("--type", help="Type of the defect, such as scratch.")] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="x,y,width,height in pixels; may be given again.")
    ] = None,
    comment: Annotated[str | None, typer.Option("--comment", help="For those who look later.")] = None,
    station: OF_STATION = None,
    file: Annotated[
        Path | None, typer.Option("--from", help="CSV or JSON file of many answers instead of one.")
    ] = None,
    by: BY = None,
    as_json: AS_JSON = False,
) -> None:
    """Say what a part is. Answering again corrects; the history keeps both.

    `neverblink review answer SN-1041 DEFECT --type scratch --region 310,116,70,25`

    `neverblink review answer --from answers.csv`

    Its columns: verdict, serial or part; judgement; and as wanted type, region, comment, station.
    """
    one = verdict is not None and judgement is not None
    if one is (file is not None) or (file is not None and verdict is not None):
        raise typer.BadParameter("name a verdict and what it is, or a file with --from, and not both")
    described = read_plant(plant)
    from neverblink.reviewing import answers_in

    if file is not None:
        answers: tuple[Answer, ...] = answers_in(file)
    else:
        assert verdict is not None
        assert judgement is not None
        answers = (_answer(verdict, judgement, defect_type, region or (), comment, station),)
    done = asyncio.run(_desk(described, by).answer(answers))
    if len(done) == 1:
        _tell(as_json, {"answered": [_answered(one) for one in done]}, _told_answered(done[0]))
        return
    _tell(as_json, {"answered": [_answered(one) for one in done]}, f"{len(done)} answers were published")


@review_app.command("undo")
def review_undo(
    verdict: Annotated[str, typer.Argument(help=_NAMED)],
    plant: PLANT = DEFAULT_PLANT,
    station: OF_STATION = None,
    by: BY = None,
    as_json: AS_JSON = False,
) -> None:
    """Take your answer back: it says nothing about the part any more, and the history keeps it."""
    done = asyncio.run(_desk(read_plant(plant), by).undo(verdict, station))
    told = f"your answer about {done.review.part} of {done.review.key} is taken back; it is {done.state.value} now"
    _tell(as_json, {"taken_back": _answered(done)}, told)


@review_app.command("show")
def review_show(
    verdict: Annotated[str, typer.Argument(help=_NAMED)],
    plant: PLANT = DEFAULT_PLANT,
    station: OF_STATION = None,
    by: BY = None,
    as_json: AS_JSON = False,
) -> None:
    """Show a verdict and what people said of it. While a second reviewer is waited for, only your own answer."""
    seen = asyncio.run(_desk(read_plant(plant), by).show(verdict, station))
    _tell(as_json, _seen(seen), _told_seen(seen))


# From words


def _desk(plant: "Plant", by: str | None) -> "Desk":
    from neverblink.reviewing import Desk

    try:
        return Desk(plant, by or getpass.getuser())
    except (KeyError, OSError) as error:
        raise typer.BadParameter("this machine does not know who you are: name yourself with --by") from error


def _where(plant: "Plant", lines: list[str] | None, station: str | None, product: str | None) -> "Where":
    """Return which parts are meant; names that the plant does not have are refused. Raises PlantError."""
    from neverblink.reviewing.desk import Where

    for line in lines or ():
        plant.line(line)
    if product is not None:
        plant.product(product)
    place = None
    if station is not None:
        line_name, slash, name = station.partition("/")
        if not slash:
            raise typer.BadParameter(f"write --station LINE/STATION, not {station}")
        plant.line(line_name).station(name)
        place = line_name, name
    return Where(tuple(lines or ()), place, product)


def _answer(
    verdict: str, judgement: str, defect_type: str | None, regions: "list[str] | tuple[str, ...]",
    comment: str | None, station: str | None,
) -> "Answer":  # fmt: skip
    from neverblink.reviewing import Answer, region_of
    from neverblink.reviewing.answers import judgement_in

    boxes = tuple(region_of(text) for text in regions)
    return Answer(verdict, judgement_in(judgement), defect_type, boxes, comment, station)


# To people


def _tell(as_json: bool, whole: dict[str, Any], text: str) -> None:
    from neverblink.job_life.terminal import shown

    if as_json:
        _print_json(whole)
    else:
        wide_console().print(shown(text), highlight=False, soft_wrap=True)


def _print_json(whole: dict[str, Any]) -> None:
    import orjson

    typer.echo(orjson.dumps(whole).decode())


def _table(rows: "tuple[Waiting, ...]") -> Any:
    from rich.table import Table

    from neverblink.job_life.terminal import shown

    table = Table("why", "station", "part", "decision", "captured", "wants", "held by", "verdict")
    for row in rows:
        held = "" if row.held_by is None else f"{row.held_by} to {_at(row.held_until)}"
        cells = (
            row.severity.shown, row.judged.key, row.judged.part,
            "" if row.severity.is_blind else _decision(row.judged), _at(row.judged.captured),
            row.wants, held, row.judged.verdict,
        )  # fmt: skip
        table.add_row(*map(shown, cells))
    return table


def _told_counts(counts: "tuple[WaitingCount, ...]") -> str:
    """Return how many wait, by what reviewers are told of the reason."""
    found: dict[str, tuple[int, bool]] = {}
    for one in counts:
        count, more = found.get(one.severity.shown, (0, False))
        found[one.severity.shown] = count + one.count, more or one.more
    return ", ".join(f"{count}{' or more' if more else ''} {word}" for word, (count, more) in found.items())


def _told_taken(taken: "Taken") -> str:
    judged = taken.judged
    blind = taken.severity is not None and taken.severity.is_blind
    why = "" if taken.severity is None else f", {taken.severity.shown}"
    look = {"second": "; you are the second, and see nothing of the first", "final": "; two disagree, you settle it"}
    seen = f"captured {_at(judged.captured)}"
    if not blind:
        seen = f"{_decision(judged)}, {seen}{_defects(taken.defects)}"
    return (
        f"{judged.part} of {judged.key} ({judged.product}{why}) is yours until {_at(taken.until)}"
        f"{look.get(taken.wants or '', '')}\n{seen}\n"
        f"neverblink review answer {judged.verdict} NORMAL|DEFECT|INCONCLUSIVE"
    )


def _told_answered(done: "Answered") -> str:
    review = done.review
    text = f"{review.part} of {review.key}: {review.judgement.value}; it is {done.state.value}"
    if done.judgement is not None and done.judgement != review.judgement:
        text += f", and what holds is {done.judgement}"
    return text


def _told_seen(seen: "Seen") -> str:
    judged = seen.judged
    part = f"{judged.part} of {judged.key} ({judged.product}), captured {_at(judged.captured)}"
    lines = [
        f"{part}: {_decision(judged)}{_defects(seen.defects)}",
        f"{seen.state.value}{'' if seen.judgement is None else f': {seen.judgement}'}",
    ]
    if seen.held_by is not None:
        lines.append(f"{seen.held_by} holds it until {_at(seen.held_until)}")
    for said in seen.answers:
        more = " ".join(filter(None, (said.defect_type, said.comment)))
        lines.append(f"{_at(said.facts.at)} {said.facts.reviewer}: {said.facts.judgement} {more}".rstrip())
    if seen.hidden:
        lines.append("what the first reviewer said is not shown before a second has answered")
    return "\n".join(lines)


def _decision(judged: "Judged") -> str:
    ratio = "" if judged.ratio is None else f" at {judged.ratio:.2f} of threshold"
    return f"{judged.decision}{'' if judged.reason is None else f' ({judged.reason})'}{ratio}"


def _defects(defects: "tuple[DefectSeen, ...]") -> str:
    told = [f"{one.type} at {one.box.x},{one.box.y},{one.box.width},{one.box.height}" for one in defects[:8]]
    return f"; {', '.join(told)}" if told else ""


def _at(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


# To programs


def _judged(judged: "Judged") -> dict[str, Any]:
    return {
        "verdict": judged.verdict, "frame_id": judged.frame_id, "line": judged.line, "station": judged.station,
        "product": judged.product, "part": judged.part, "decision": judged.decision, "reason": judged.reason,
        "ratio": judged.ratio, "captured": judged.captured,
        "identity": None if judged.identity is None else judged.identity.model_dump(mode="json", exclude_defaults=True),
    }  # fmt: skip


def _waiting(row: "Waiting") -> dict[str, Any]:
    held = {"held_by": row.held_by, "held_until": row.held_until}
    return {**_judged(row.judged), "severity": row.severity.word, "wants": row.wants, **held}


def _taken(taken: "Taken") -> dict[str, Any]:
    severity = None if taken.severity is None else taken.severity.word
    return {
        **_judged(taken.judged), "severity": severity, "wants": taken.wants, "until": taken.until,
        "defects": _defects_as_data(taken.defects),
    }  # fmt: skip


def _answered(done: "Answered") -> dict[str, Any]:
    return {"review": done.review.model_dump(mode="json"), "state": done.state.value, "judgement": done.judgement}


def _seen(seen: "Seen") -> dict[str, Any]:
    return {
        **_judged(seen.judged),
        "state": seen.state.value,
        "judgement": seen.judgement,
        "wants": seen.wants,
        "answers": [
            {
                "id": said.facts.id, "reviewer": said.facts.reviewer, "judgement": said.facts.judgement,
                "at": said.facts.at, "round": said.facts.round, "type": said.defect_type, "comment": said.comment,
                "regions": [box.model_dump() for box in said.regions],
            }
            for said in seen.answers
        ],
        "hidden": seen.hidden,
        "held_by": seen.held_by,
        "held_until": seen.held_until,
        "defects": _defects_as_data(seen.defects),
    }  # fmt: skip


def _defects_as_data(defects: "tuple[DefectSeen, ...]") -> list[dict[str, Any]]:
    return [{"type": one.type, "region": one.box.model_dump(), "confidence": one.confidence} for one in defects]
