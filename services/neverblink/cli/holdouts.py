"""Holdouts: the parts that people judge whatever the verdict, and the keys that they are drawn with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, holdouts_app, read_plant

_SOON = timedelta(minutes=1)
"""Until a first key holds: nodes that run have read it by then."""
_LATER = timedelta(hours=1)
"""Until a key that replaces another one holds: time to copy the file to the plant's other hosts."""


@holdouts_app.command("key")
def holdouts_key(
    plant: PLANT = DEFAULT_PLANT,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
            help="Instant from which the new key holds, such as 2026-03-02T06:00+01:00. Default: in a minute for the"
            " first key, in an hour for the next ones.",
        ),
    ] = None,
) -> None:
    """Make the key that holdouts are drawn with, or the next one: from then on nobody knows the draw who knew the old.

    `neverblink holdouts key --plant plant.yaml`

    The key itself is shown nowhere. Copy the file to every host with camera nodes before the new key holds: nodes
    that run read it within half a minute.
    """
    described = read_plant(plant)
    from neverblink.camera.holdout_keys import add_key, keys_in

    settings = described.proof.holdouts
    known = keys_in(settings.key)
    begins = since or datetime.now(UTC) + (_LATER if known else _SOON)
    add_key(settings.key, begins)
    typer.echo(
        f"{settings.key} has a new key, which holds from {begins.astimezone():%Y-%m-%d %H:%M:%S %z} on;"
        f" {len(known)} earlier stay, so that parts of before are drawn as they were"
    )
    for line in described.lines:
        share = settings.share_of(tuple(station.product for station in line.stations))
        typer.echo(f"{line.name}: {share:.3%} of the parts")
    typer.secho("Copy the file to every host with camera nodes, readable by their user alone.", err=True)
