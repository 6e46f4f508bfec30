"""Golden sets: what is in them, and what a model makes of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, golden_app, read_plant, wide_console
from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.cli.models import BY, stamp_of
from neverblink.job_life.terminal import say, shown
from neverblink.qualification.results import QualifyResult
from neverblink.qualification.settings import QualifyJob

if TYPE_CHECKING:
    from neverblink.events import BoundingBox
    from neverblink.model_registry.golden_set import GoldenSet
    from neverblink.qualification.golden_pictures import Editor
    from neverblink.qualification.jobs import Qualified

_PRODUCT = Annotated[str, typer.Option("--product", help="Whose golden set.")]
_WHY = Annotated[str | None, typer.Option("--why", help="Why; it stays with the set.")]


@golden_app.command("add")
def golden_add(
    pictures: Annotated[
        list[Path],
        typer.Argument(help="Pictures, or folders of them; without --good and --defect a folder of folders."),
    ],
    product: _PRODUCT,
    plant: PLANT = DEFAULT_PLANT,
    good: Annotated[bool, typer.Option("--good", help="They show good parts.")] = False,
    defect: Annotated[str | None, typer.Option("--defect", help="They show a defect of this type.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="Where it must be found, pixels of the picture.")
    ] = None,
    named: Annotated[bool, typer.Option("--named", help="A model must name its type too.")] = False,
    station: Annotated[
        str | None,
        typer.Option(help="LINE/STATION that took them, where a product's stations differ in scale or depth."),
    ] = None,
    by: BY = None,
    why: _WHY = None,
) -> None:
    """Copy pictures with their known answers into a product's golden set.

    `neverblink golden add known-parts --product pcb` takes `good` and a folder a type of defect, or `defects/TYPE`.

    `neverblink golden add 0417.png --product pcb --defect scratch --region 210,88,40,25`

    From then on a report of the set as it was before counts no more: `neverblink qualify` makes another.
    """
    described = read_plant(plant)
    from neverblink.qualification.golden_pictures import Answer, add

    if good and defect is not None:
        raise typer.BadParameter("a part is --good or has a --defect, not both")
    if not good and defect is None and (region is not None or named):
        raise typer.BadParameter("--region and --named are of a --defect: name its type")
    answer = None
    if good or defect is not None:
        answer = Answer(defect, None if region is None else _region(region), named, station)
    elif station is not None:
        raise typer.BadParameter("--station goes with --good or --defect")
    done = add(described, product, pictures, answer, _editor(by, why))
    console = wide_console()
    if done.known:
        say(console, f"{len(done.known)} pictures are in the golden set already")
    say(console, f"{len(done.pictures)} pictures came to the golden set of {product}: {_counted(done.golden)}")


@golden_app.command("remove")
def golden_remove(
    pictures: Annotated[list[str], typer.Argument(help="As `golden list --pictures` names them: defects/TYPE/NAME.")],
    product: _PRODUCT,
    plant: PLANT = DEFAULT_PLANT,
    by: BY = None,
    why: _WHY = None,
) -> None:
    """Take pictures out of a product's golden set and delete them there."""
    described = read_plant(plant)
    from neverblink.qualification.golden_pictures import remove

    done = remove(described, product, pictures, _editor(by, why))
    console = wide_console()
    say(console, f"{len(done.pictures)} pictures left the golden set of {product}: {_counted(done.golden)}")


@golden_app.command("list")
def golden_list(
    product: Annotated[str | None, typer.Option("--product", help="Only this product's.")] = None,
    plant: PLANT = DEFAULT_PLANT,
    pictures: Annotated[bool, typer.Option("--pictures", help="Every picture, and what is known of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print the golden sets: how many parts of which type, digest, and the last change."""
    described = read_plant(plant)
    from rich.table import Table

    from neverblink.model_registry.golden_set import GoldenPlace

    names = list(described.proof.golden.sets) if product is None else [product]
    console = wide_console()
    if not names:
        say(console, "no product has a golden set: the plant file names them, proof: golden: sets: {PRODUCT: FOLDER}")
        return
    found = [GoldenPlace.of(described, name).read() for name in names]
    if as_json:
        told = [one.model_dump(mode="json") | {"digest": one.digest} for one in found]
        console.print_json(orjson.dumps(told).decode())
    elif pictures:
        table = Table("product", "picture", "known", "must be found")
        for one in found:
            for part in one.parts:
                box = part.region
                where = "" if box is None else f"at {box.x},{box.y},{box.width},{box.height}"
                must = " ".join(filter(None, [where, f"as {part.type}" if part.named else ""]))
                table.add_row(*map(shown, (one.product, part.picture, part.type or "good", must)))
        console.print(table)
    else:
        table = Table("product", "parts", "digest", "last change", "by", "why")
        for one in found:
            last = one.earlier[-1] if one.earlier else None
            when = (
                ("", "", "") if last is None else (f"{last.until.astimezone():%Y-%m-%d %H:%M}", last.by, last.why or "")
            )
            table.add_row(*map(shown, (one.product, _counted(one), one.digest[7:19], *when)))
        console.print(table)


def _counted(golden: "GoldenSet") -> str:
    types: dict[str, int] = {}
    for part in golden.parts:
        types[part.type or "good"] = types.get(part.type or "good", 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(types.items())) or "none"


def _editor(by: str | None, why: str | None) -> "Editor":
    from neverblink.qualification.golden_pictures import Editor

    stamp = stamp_of(by, why)
    return Editor(stamp.by, stamp.why, stamp.at)


def _region(text: str) -> "BoundingBox":
    from pydantic import ValidationError

    from neverblink.events import BoundingBox

    try:
        x, y, width, height = (int(word) for word in text.split(","))
        return BoundingBox(x=x, y=y, width=width, height=height)
    except (ValueError, ValidationError) as error:
        raise typer.BadParameter(
            f"{text!r} is no region: write X,Y,WIDTH,HEIGHT in pixels, such as 210,88,40,25"
        ) from error


# Judging


def _qualify(job: QualifyJob, teller: Teller) -> "Qualified":
    from neverblink.qualification.jobs import run_qualify

    return run_qualify(job, teller.progress)


def _show_qualify(_: QualifyJob, done: "Qualified", screen: Screen) -> None:
    found = done.result()
    if screen.as_json:
        screen.json(orjson.dumps(found.model_dump(mode="json")))
        return
    for note in done.notes:
        screen.say(f"note: {note}")
    screen.say(
        f"{found.defects - found.escaped} of {found.defects} known defects are caught as they must be,"
        f" {found.good_rejected} of {found.good} good golden parts are rejected"
    )
    if found.refused is None:
        screen.console.print(f"it may score {shown(found.product)}", style="green", highlight=False)
    else:
        said = f"it must not score {found.product}: {found.refused}"
        screen.console.print(shown(said), style="red", soft_wrap=True, highlight=False)
    screen.say(f"report: {found.page}, known as {found.report[:19]}…")


command(
    "qualify",
    Job(
        settings=QualifyJob, result=QualifyResult, work=_qualify, show=_show_qualify,
        told=lambda _, done: done.result(), title=lambda job: Path(job.artifact).name,
        good=lambda done: done.refused is None, as_json="Print JSON instead of sentences.",
    ),
    short="Let a model judge its product's golden set, and keep the report.",
    text="""Let a model judge its product's golden set, exactly as a scorer would, and keep the report in the store.

    `models activate`, `threshold`, `promote` and `rollback` do so by themselves, and refuse what fails.

    `neverblink qualify artifacts/pcb-5 --product pcb`

    `neverblink qualify pcb-5 --threshold 2.9 --report pcb-5.html`

    Exit codes: 0 it may score; 1 it must not; 2 bad input or surroundings. docs/guides/proof.md has more.
    """,
)  # fmt: skip
