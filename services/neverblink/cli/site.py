"""What a plant is described by: its plant file, and the contracts for the outside."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neverblink.cli.application import (
    DEFAULT_PLANT,
    EXIT_BAD_RESULT,
    plant_app,
    read_plant,
    schemas_app,
)
from neverblink.shown import visible

if TYPE_CHECKING:
    from neverblink.plant import Plant


# Contracts


@plant_app.command("check")
def plant_check(
    file: Annotated[Path, typer.Argument(help="The plant file.")] = DEFAULT_PLANT,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody on the network.")] = False,
) -> None:
    """Explain what is wrong with a plant file and with what it names, or what it describes.

    Looks at passwords, certificates, keys, trust folders and models of this machine, and asks whether brokers, PLCs and
    databases take a connection. Exit code 1: the file is right, and something around it is not.
    """
    plant = read_plant(file)
    typer.echo(f"{file}: site {plant.site}, Kafka {plant.kafka.bootstrap}")
    for line in plant.lines:
        plc = line.plc.endpoint if line.plc else "no PLC: verdicts are published and not told"
        typer.echo(
            f"  {line.name}: {line.timing.lead_s:.2f} s from trigger to gate, "
            f"{line.timing.budget_s:.2f} s of them for the verdict; {plc}"
        )
        for station in line.stations:
            typer.echo(f"    {station.name}: product {station.product}, {station.source.kind}, {station.trigger.kind}")
    for told in _reference_parts(plant):
        typer.echo(f"  {told}")
    if not _surroundings_fit(plant, file, offline):
        raise typer.Exit(EXIT_BAD_RESULT)


def _surroundings_fit(plant: "Plant", file: Path, offline: bool) -> bool:
    """Tell what is found outside of the file, each with the line that names it; return whether all is well."""
    from datetime import UTC, datetime

    from neverblink.plant.loading import placed
    from neverblink.surroundings import ask, look

    found = look(plant, datetime.now(UTC))
    if not offline:
        found += asyncio.run(ask(plant))
    told = sorted(zip(placed(file, [one.at for one in found]), found, strict=True), key=lambda one: _order(one[0]))
    for place, one in told:
        typer.echo(f"{place}: {'' if one.wrong else 'note: '}{visible(one.sentence)}")
    return not any(one.wrong for one in found)


def _order(place: str) -> tuple[int, int]:
    _, line, column = place.rsplit(":", 2)
    return int(line), int(column)


def _reference_parts(plant: "Plant") -> "Iterator[str]":
    """Yield what there is to say of reference parts. Raises PlantError for a file of them with mistakes."""
    from neverblink.plant.references import load_references

    settings = plant.proof.challenges
    known = load_references(settings.references)
    products = {product.name for product in plant.products}
    if known.references:
        yield f"{len(known.references)} reference parts in {settings.references}"
    for one in known.references:
        if one.product not in products:
            yield f"note: reference part {one.id} is a {one.product}, which is not in products"
    for name in dict.fromkeys(name for due in settings.schedule for name in due.references):
        if known.get(name) is None:
            yield f"note: reference part {name} is scheduled and not in {settings.references}"


@plant_app.command("schema")
def plant_schema() -> None:
    """Print the plant file's JSON Schema, for editors."""
    import orjson

    from neverblink.plant import Plant

    typer.echo(orjson.dumps(Plant.model_json_schema(), option=orjson.OPT_INDENT_2).decode())


@plant_app.command("example")
def plant_example() -> None:
    """Print a plant file to start from."""
    from neverblink.plant import EXAMPLE

    typer.echo(EXAMPLE, nl=False)


@schemas_app.command("export")
def schemas_export(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("schemas"),
) -> None:
    """Write JSON Schemas, asyncapi.yaml, an example of every event, and the contracts of jobs, PLC and REST API."""
    from neverblink.cli.jobs import JOBS
    from neverblink.events.schemas import export
    from neverblink.job_life.schemas import documents
    from neverblink.plc.contract import PROFILES
    from neverblink.plc.contract_files import contract_json, file_name

    for path in export(folder):
        typer.echo(str(path))
    for name, content in documents({name: (job.settings, job.result) for name, job in JOBS.items()}).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        typer.echo(str(path))
    from neverblink.ledger.api.document import openapi_json

    api = folder / "ledger-api.json"
    api.write_bytes(openapi_json())
    typer.echo(str(api))
    for profile in PROFILES:
        contract = folder / "plc" / file_name(profile)
        contract.parent.mkdir(exist_ok=True)
        contract.write_text(contract_json(profile), encoding="utf-8")
        typer.echo(str(contract))
