"""`neverblink topics`: what there is on the broker, who may do what there, and what differs from it."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neverblink.cli.application import (
    DEFAULT_PLANT,
    EXIT_BAD_RESULT,
    PLANT,
    read_plant,
    topics_app,
    wide_console,
)
from neverblink.shown import visible

if TYPE_CHECKING:
    from neverblink.kafka.rights import Difference
    from neverblink.plant import Kafka

ACLS = Annotated[bool, typer.Option("--acls", help="Users' rights and quotas as well.")]
PRINCIPALS = Annotated[
    list[str] | None,
    typer.Option(
        "--principal",
        help="NAME=User:SOMEBODY: who a service is to the broker; may be given again. Default: kafka.principals.",
    ),
]


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


@topics_app.command("check")
def topics_check(
    plant: PLANT = DEFAULT_PLANT,
    acls: ACLS = False,
    principal: PRINCIPALS = None,
) -> None:
    """Print what the broker has otherwise than it should, and what mends it; nothing is changed.

    Exit code 1: something differs. Rights of others that reach our topics are named, and do not count.
    """
    kafka = _with_principals(read_plant(plant).kafka, principal)
    from neverblink.kafka.rights import differences

    found = asyncio.run(differences(kafka, rights=acls))
    _tell(found)
    what = "topics, rights and quotas" if acls else "topics"
    _end(found, f"{what} on Kafka at {kafka.bootstrap} are as they should be")


@topics_app.command("apply")
def topics_apply(
    plant: PLANT = DEFAULT_PLANT,
    acls: ACLS = False,
    principal: PRINCIPALS = None,
    may_delete: Annotated[
        bool,
        typer.Option(
            "--may-delete-records",
            help="Also set what lets Kafka delete records that it keeps now, such as a shorter retention.",
        ),
    ] = False,
) -> None:
    """Make the topics that are missing and set our settings; with --acls give rights and set quotas.

    No topic, partition, right or setting of others is taken away. Exit code 1: something still differs.
    """
    kafka = _with_principals(read_plant(plant).kafka, principal)
    from neverblink.kafka.rights import apply

    before, left = asyncio.run(apply(kafka, rights=acls, may_delete=may_delete))
    for one in before:
        if one not in left:
            typer.echo(f"{visible(one.name)}: {visible(one.which)}: was {visible(one.found)}, is {visible(one.wanted)}")
    _tell(left)
    _end(left, "nothing else differs" if before else "nothing differs")


@topics_app.command("acls")
def topics_acls(
    plant: PLANT = DEFAULT_PLANT,
    written: Annotated[
        Literal["yaml", "commands"],
        typer.Option("--as", help="yaml, or commands: lines for Kafka's own kafka-acls.sh and kafka-configs.sh."),
    ] = "yaml",
    principal: PRINCIPALS = None,
) -> None:
    """Print who may do what on the broker, no more than each needs; without a plant file, as by default."""
    from neverblink.plant import Kafka

    # The default is not asked for by name: without a file there is still something to say.
    given = Kafka() if plant == DEFAULT_PLANT and not plant.exists() else read_plant(plant).kafka
    kafka = _with_principals(given, principal)
    from neverblink.kafka.rights import as_commands, as_yaml

    typer.echo(as_yaml(kafka) if written == "yaml" else "\n".join(as_commands(kafka)) + "\n", nl=False)


def _with_principals(kafka: "Kafka", given: Sequence[str] | None) -> "Kafka":
    """Return Kafka's section with these users in the place of what it says. Raises typer.BadParameter."""
    if not given:
        return kafka
    from pydantic import ValidationError

    from neverblink.plant import Kafka

    named: dict[str, tuple[str, ...]] = {}
    for one in given:
        name, equals, user = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"{one!r} is not NAME=User:SOMEBODY, such as camera=User:CN=camera-1")
        named[name] = (*named.get(name, ()), user)
    try:
        return Kafka.model_validate({**kafka.model_dump(), "principals": {**kafka.principals, **named}})
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _tell(found: "Sequence[Difference]") -> None:
    from rich.table import Table

    if not found:
        return
    table = Table("of", "what", "is", "should be", "mended by", "why")
    for one in found:
        cells = (one.name, one.which, one.found, one.wanted, one.mend.value, one.said)
        table.add_row(*map(visible, cells))
    wide_console().print(table, markup=False)


def _end(found: "Sequence[Difference]", well: str) -> None:
    from neverblink.kafka.rights import Mend

    if any(one.mend is not Mend.NOTE for one in found):
        raise typer.Exit(EXIT_BAD_RESULT)
    typer.echo(well)


def _span(milliseconds: int) -> str:
    hours = milliseconds / 3_600_000
    if milliseconds < 0:
        return "for ever"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"
