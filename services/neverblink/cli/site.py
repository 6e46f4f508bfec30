"""What a plant is described by: its topics, its plant file, the contracts for the outside."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, plant_app, read_plant, schemas_app, topics_app

if TYPE_CHECKING:
    from neverblink.plant import Plant


@topics_app.command("create")
def topics_create(plant: PLANT = DEFAULT_PLANT) -> None:
    """Create the topics that are missing and check the size limits of those that exist."""
    described = read_plant(plant)
    from neverblink.kafka import ensure_topics

    created = asyncio.run(ensure_topics(described.kafka))
    typer.echo("\n".join(f"created {name}" for name in created) or "all topics exist and fit")


@topics_app.command("list")
def topics_list() -> None:
    """Print every topic: key, retention, who writes, who reads."""
    from rich.console import Console
    from rich.table import Table

    from neverblink.events import TOPICS

    table = Table("topic", "key", "kept", "written by", "read by", "what")
    for topic in TOPICS.values():
        kept = "compacted" if topic.compacted else _span(topic.retention_ms)
        table.add_row(topic.name, topic.key, kept, ", ".join(topic.writers), ", ".join(topic.readers), topic.about)
    Console().print(table)


def _span(milliseconds: int) -> str:
    hours = milliseconds / 3_600_000
    if milliseconds < 0:
        return "for ever"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


# Contracts


@plant_app.command("check")
def plant_check(file: Annotated[Path, typer.Argument(help="The plant file.")] = DEFAULT_PLANT) -> None:
    """Explain what is wrong with a plant file, or what it describes."""
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
