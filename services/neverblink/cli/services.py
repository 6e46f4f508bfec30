"""The services: one command each, and the simulated PLCs.

A plant file is read before what it is for is imported: a mistake in it is told at once.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from neverblink import telemetry
from neverblink.cli.application import (
    ANSWER_AT,
    DEFAULT_PLANT,
    LOG_LEVEL,
    PLANT,
    app,
    bridge_app,
    camera_app,
    ledger_app,
    read_plant,
    refuse_options_before,
    wide_console,
)
from neverblink.service_life import building


@camera_app.callback(invoke_without_command=True)
def camera(
    context: typer.Context,
    plant: PLANT = DEFAULT_PLANT,
    station: Annotated[
        list[str] | None, typer.Option(help="LINE/STATION to run; may be given again. Default: all stations.")
    ] = None,
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Run camera nodes: trigger, grab, judge the image, publish the frame with its deadline."""
    if context.invoked_subcommand is not None:
        refuse_options_before(context, ("plant", "station", "log_level", "health"))
        return
    described = read_plant(plant)
    with building():
        from neverblink.camera.commands import run

    asyncio.run(run(described, station or ()))


@camera_app.command("learn-limits")
def camera_learn_limits(
    station: Annotated[str, typer.Option(help="LINE/STATION whose limits are learnt.")],
    plant: PLANT = DEFAULT_PLANT,
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures of good parts. Default: the station's own source.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="So many pictures from the source.")] = 100,
    every: Annotated[float, typer.Option(min=0, help="Seconds between them, unless the camera fires.")] = 0.5,
) -> None:
    """Learn when a picture of a station is too dark, saturated, blurred or of a wrong size; prints YAML.

    `neverblink camera learn-limits --station line-1/top --images good-parts`

    Good parts in good light only. The section goes under the station in the plant file.
    """
    described = read_plant(plant)
    from neverblink.camera.commands import learn_limits
    from neverblink.camera.learnt_limits import ENOUGH

    learnt = learn_limits(described, station, images, pictures, every)
    for line in learnt.as_yaml(station):
        typer.echo(line)
    if learnt.pictures < ENOUGH:
        typer.secho(f"{learnt.pictures} pictures are few: learn from {ENOUGH}, over a shift", err=True)


@camera_app.command("sweep-objects")
def camera_sweep_objects(plant: PLANT = DEFAULT_PLANT) -> None:
    """Delete large images that are older than storage.objects_keep_h. Camera nodes do so by themselves."""
    described = read_plant(plant)
    from neverblink.camera.commands import sweep_objects

    typer.echo(f"{sweep_objects(described)} hours of images deleted")


@app.command(short_help="Frames of all lines in, verdicts out; start more to share the stations.")
def scorer(
    plant: PLANT = DEFAULT_PLANT,
    instance: Annotated[
        str | None,
        typer.Option(help="This member's name in the group, stable over restarts. Default: the host."),
    ] = None,
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Run a scorer: frames of all lines in, verdicts out. Start more of them to share the stations."""
    described = read_plant(plant)
    with building():
        from neverblink.scorer.commands import run

    asyncio.run(run(described, instance))


@bridge_app.callback(invoke_without_command=True)
def bridge(
    context: typer.Context,
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[
        list[str] | None, typer.Option(help="Line to serve; may be given again. Default: all with a PLC.")
    ] = None,
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Run the OPC UA bridge: tells each line's PLC the verdict before the part reaches the gate."""
    if context.invoked_subcommand is not None:
        refuse_options_before(context, ("plant", "line", "log_level", "health"))
        return
    from neverblink.plant import load_sound_lines

    sound, faults = load_sound_lines(plant)
    with building():
        from neverblink.bridge.commands import run

    asyncio.run(run(sound, line, faults))


@app.command(short_help="Follows scores, images and rates of every station, and alerts.")
def drift(
    plant: PLANT = DEFAULT_PLANT,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the state on disk here. Default: memory, rebuilt from Kafka.")
    ] = None,
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Run the drift service: follows every station's scores, images and rates, and alerts when they move."""
    described = read_plant(plant)
    with building():
        from neverblink.drift.commands import run

    asyncio.run(run(described, data_dir))


@app.command("simulate-drift", short_help="Weeks of a simulated line through the drift service in minutes.")
def simulate_drift(
    scenario: Annotated[
        str,
        typer.Option(
            help="none, night-shift, supplier, tool-wear, led-ageing, camera-knocked, no-challenge-parts or"
            " wrong-from-start.",
        ),
    ] = "supplier",
    weeks: Annotated[int, typer.Option(min=2, max=26, help="Simulated weeks; the change begins after two.")] = 4,
    parts_per_minute: Annotated[float, typer.Option(min=0.2, max=60, help="Parts a minute.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same parts.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write the weeks and their alerts as SVG here.")] = None,
    plant: Annotated[
        Path | None,
        typer.Option(
            "--plant",
            "-p",
            help="Use this plant's Kafka, shifts and limits, under a topic prefix that is deleted at the end."
            " Default: the development broker.",
        ),
    ] = None,
) -> None:
    """Run weeks of a simulated line through the drift service in minutes, and print its alerts.

    `neverblink simulate-drift --scenario led-ageing --plot ageing.svg`

    Exit code 1: the change was not found, or something was alarmed that does not drift.
    """
    lender = read_plant(plant) if plant is not None else None
    from neverblink.demo.drift.drift_simulation import Simulation, run, scenario_named
    from neverblink.demo.drift.scenarios import SCENARIOS

    chosen = scenario_named(scenario)
    if chosen is None:
        raise typer.BadParameter(f"there is no scenario {scenario!r}; there are {', '.join(s.slug for s in SCENARIOS)}")
    simulation = Simulation(chosen, weeks, parts_per_minute, seed, plot, lender)
    raise typer.Exit(asyncio.run(run(simulation, wide_console())))


@ledger_app.command("run")
def ledger_run(
    plant: PLANT = DEFAULT_PLANT,
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Run the ledger service."""
    described = read_plant(plant)
    with building():
        from neverblink.ledger.commands import run

    asyncio.run(run(described))


@ledger_app.command("tail")
def ledger_tail(
    plant: PLANT = DEFAULT_PLANT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what arrives.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the latest verdicts.")] = 20,
) -> None:
    """Print the latest verdicts and what became of them at the gate."""
    described = read_plant(plant)
    from neverblink.cli.records import tail

    tail(described, follow, limit)


@ledger_app.command("stats")
def ledger_stats(
    plant: PLANT = DEFAULT_PLANT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print yield, reasons, latencies and disagreements between gate and verdict."""
    described = read_plant(plant)
    from neverblink.cli.records import stats

    stats(described, as_json)


# Brokers and PLCs for one machine


@app.command(short_help="The development broker: Kafka in memory, on loopback only; never for a plant.")
def broker(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 9092,
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Run the development broker: Kafka's protocol in memory, on loopback only. Never for a plant."""
    from neverblink.brokers.development import DevelopmentBroker
    from neverblink.service_life import ready, run_service

    telemetry.setup("broker", "development")

    async def work(stop: asyncio.Event) -> None:
        async with DevelopmentBroker(port=port) as started:
            ready("broker", bootstrap=started.bootstrap)
            await stop.wait()

    asyncio.run(run_service("broker", work))


@app.command("plc-sim", short_help="The plant's PLCs, simulated: conveyor, gate, watchdog, certificates.")
def plc_sim(
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[list[str] | None, typer.Option(help="Line to simulate; default: all with a PLC.")] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=100, help="Parts per second on each line.")] = 2.0,
    parts: Annotated[int, typer.Option(min=0, help="Stop the conveyor after so many; 0 is endless.")] = 0,
    standing: Annotated[
        bool, typer.Option("--standing", help="Wait for Conveyor.Run before the conveyor starts.")
    ] = False,
    truth: Annotated[Path | None, typer.Option(help="Write one line of JSON per part at a gate.")] = None,
    reset_after: Annotated[
        float | None,
        typer.Option(min=0, help="Release a stop so many seconds after the bridge permits it. Default: nobody does."),
    ] = None,
    certificates: Annotated[
        Path,
        typer.Option(
            help="Folder of the simulated PLCs' own certificates and keys, and of the epochs that they remember."
        ),
    ] = Path("simulated-plcs"),
    log_level: LOG_LEVEL = None,
    health: ANSWER_AT = None,
) -> None:
    """Simulate the plant's PLCs at their endpoints: conveyor, profile, gate, watchdog, users and certificates."""
    description = read_plant(plant)
    from neverblink.service_life import keep_for_good, ready, run_service
    from neverblink.simulation.plc.simulated_plcs import run, simulated_lines

    telemetry.setup("plc-sim", description.site)
    lines = simulated_lines(
        description,
        line,
        rate_per_s=rate,
        parts=parts,
        running=not standing,
        certificates=certificates,
        remember=True,
        reset_after_s=reset_after,
    )

    def serving(endpoints: list[str]) -> None:
        keep_for_good()
        ready("plc-sim", lines=endpoints)

    async def work(stop: asyncio.Event) -> None:
        await run(lines, stop, truth=truth, ready=lambda found: serving([simulator.endpoint for simulator in found]))

    asyncio.run(run_service("plc-sim", work))
