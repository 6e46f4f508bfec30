"""The bridge's commands beside the service: certificates, nodes, a look at live PLCs, lines on hold."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, bridge_app, read_plant, wide_console
from neverblink.cli.models import BY, stamp_of

if TYPE_CHECKING:
    from neverblink.events import Hold

_LINE = Annotated[str, typer.Argument(help="Name of the line.")]
_WHY = Annotated[str, typer.Option(help="Why, in a sentence: everybody reads it.")]


@bridge_app.command("certificate")
def bridge_certificate(
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[
        list[str] | None, typer.Option(help="Line whose certificate is made; may be given again. Default: all.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Further host name or address of this machine; may be given again.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=7300, help="How long it is valid.")] = 1825,
) -> None:
    """Make the certificate and key by which PLCs know us, where the plant file names them.

    `neverblink bridge certificate --plant plant.yaml`

    Nothing is overwritten. It prints what to do at the PLC; docs/guides/plc.md has more.
    """
    described = read_plant(plant)
    from neverblink.bridge.commands import make_certificates

    for sentence in make_certificates(described, line, also or (), days):
        typer.echo(sentence)


@bridge_app.command("check")
def bridge_check(
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[
        list[str] | None, typer.Option(help="Line to check; may be given again. Default: all with a PLC.")
    ] = None,
    write_test: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, metavar="PART", help="Tell each PLC a reject of this part; read it back."),
    ] = None,
) -> None:
    """Ask the live PLCs whether the bridge could serve them: nodes, rights, counts, heartbeat. Needs no Kafka.

    `neverblink bridge check --plant plant.yaml --line line-1`

    It takes a session of each PLC for a moment. Nothing is written but with --write-test, which needs an empty belt.
    """
    described = read_plant(plant)
    from neverblink.bridge.plc_check import check_lines
    from neverblink.bridge.service import lines_with_plc

    found = asyncio.run(check_lines(lines_with_plc(described, line), write_test))
    for one in found:
        typer.echo(f"{one.line}: {'a bridge can serve it' if one.good else 'a bridge cannot serve it'}")
        for sentence in one.said:
            typer.echo(f"  {sentence}")
    if not all(one.good for one in found):
        raise typer.Exit(1)


@bridge_app.command("browse")
def bridge_browse(
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[
        list[str] | None, typer.Option(help="Line whose PLC is looked through; may be given again. Default: all.")
    ] = None,
) -> None:
    """Look for the contract's nodes in live PLCs, and propose node and slot_node for the plant file.

    `neverblink bridge browse --plant plant.yaml --line line-1`

    Endpoint and security must be right already; namespace and node ids need not. Nothing is written.
    """
    described = read_plant(plant)
    from neverblink.bridge.plc_browse import browse_lines
    from neverblink.bridge.service import lines_with_plc

    found = asyncio.run(browse_lines(lines_with_plc(described, line)))
    for one in found:
        typer.echo(one.endpoint)
        for sentence in one.said:
            typer.echo(f"  {sentence}")
    if not all(one.fits for one in found):
        raise typer.Exit(1)


@bridge_app.command("nodes")
def bridge_nodes(
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file, for the node ids of one of its lines.")
    ] = None,
    line: Annotated[str | None, typer.Option(help="That line.")] = None,
    profile: Annotated[
        Literal["verdict-table", "mailbox", "method"], typer.Option(help="Without a plant file: of this profile.")
    ] = "verdict-table",
) -> None:
    """Print the nodes that a PLC needs for a line as CSV: name, type, who writes it, what it means."""
    if (plant is None) is not (line is None):
        raise typer.BadParameter("--plant and --line go together: they name the line whose node ids are printed")
    settings = None
    if plant is not None and line is not None:
        settings = read_plant(plant).line(line).plc
    from neverblink.plc.contract_files import node_list

    typer.echo(node_list(settings, profile), nl=False)


@bridge_app.command("hold")
def bridge_hold(line: _LINE, why: _WHY, plant: PLANT = DEFAULT_PLANT, by: BY = None) -> None:
    """Put a line on hold for maintenance: its parts are rejected unjudged, and count as nobody's trouble.

    `neverblink bridge hold line-1 --why "the blade of the gate is exchanged"`

    It holds over restarts until `neverblink bridge release`. Cameras and scorers go on.
    """
    from neverblink.events.hold import HELD

    _say(plant, line, HELD, why, by)


@bridge_app.command("release")
def bridge_release(line: _LINE, why: _WHY, plant: PLANT = DEFAULT_PLANT, by: BY = None) -> None:
    """Release a line that people have put on hold. Parts that are on the belt now are rejected still.

    `neverblink bridge release line-1 --why "exchanged and tried with 20 parts"`
    """
    from neverblink.events.hold import RELEASED

    _say(plant, line, RELEASED, why, by)


@bridge_app.command("holds")
def bridge_holds(plant: PLANT = DEFAULT_PLANT) -> None:
    """Print which lines are on hold or in bypass: since when, by whom, why."""
    described = read_plant(plant)
    from neverblink.job_life.terminal import say
    from neverblink.kafka.line_holds import holds_of

    found = asyncio.run(holds_of(described.kafka))
    for line in described.lines:
        sides = [hold for hold in found.get(line.name, {}).values() if hold.state != "released"]
        for hold in sides:
            say(wide_console(), _sentence(hold))
        if not sides:
            say(wide_console(), f"{line.name}: neither on hold nor in bypass")


def _say(plant: Path, line: str, state: str, why: str, by: str | None) -> None:
    described = read_plant(plant)
    from neverblink.job_life.terminal import say
    from neverblink.kafka.line_holds import say_hold

    if described.line(line).plc is None:
        raise typer.BadParameter(f"{line} has no PLC in the plant file, so no part of it is told to anybody")
    if not why.strip():
        raise typer.BadParameter("--why is empty: say in a sentence why")
    stamp = stamp_of(by, why)
    said = asyncio.run(say_hold(described.kafka, described.site, line, state, stamp.at, stamp.by, why))
    if said.before is not None and said.before.state == state:
        say(wide_console(), f"note: it was so already: {_sentence(said.before)}")
    say(wide_console(), _sentence(said.now))


def _sentence(hold: "Hold") -> str:
    state = {"hold": "on hold", "bypass": "in bypass", "released": "released"}.get(hold.state, hold.state)
    why = f": {hold.why}" if hold.why else ""
    return f"{hold.line}: {state} since {hold.at.astimezone():%Y-%m-%d %H:%M:%S} by {hold.by}{why}"
