"""The command line: one command per service and job. Heavy libraries are imported by the command that needs them."""

import asyncio
import getpass
import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neverblink import __version__, telemetry

if TYPE_CHECKING:
    from neverblink.trainer.model_changes import Stamp

EXIT_BAD_RESULT = 1
EXIT_BAD_INPUT = 2
_PLANT = Annotated[
    Path, typer.Option("--plant", "-p", help="The plant file.", envvar="NEVERBLINK_PLANT", show_default=True)
]
_DEFAULT_PLANT = Path("plant.yaml")

app = typer.Typer(
    name="neverblink",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Inline visual inspection: frames in, verdicts out, rejects at the PLC before the gate.

First time here? `neverblink demo` runs a whole plant on this machine. Then: `neverblink plant example`
prints a plant file, `neverblink fit` makes a model from pictures of good parts, `evaluate` tells what it
finds and misses, and `camera`, `scorer`, `bridge`, `drift` and `ledger` are the services, one process each,
all started with `--plant FILE`.

Exit codes: 0 done, 1 done and the result is bad, 2 bad input or surroundings (one sentence says which).""",
)
plant_app = typer.Typer(no_args_is_help=True, help="Check, explain and start a plant file.")
topics_app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
schemas_app = typer.Typer(no_args_is_help=True, help="The contracts for the outside.")
ledger_app = typer.Typer(no_args_is_help=True, help="Keeps every verdict and actuation, and answers.")
artifact_app = typer.Typer(no_args_is_help=True, help="Look into fitted models, check them, send them.")
models_app = typer.Typer(no_args_is_help=True, help="Which model scores which station; change it while the line runs.")
camera_app = typer.Typer()
bridge_app = typer.Typer()
for _name, _sub in (
    ("plant", plant_app),
    ("topics", topics_app),
    ("schemas", schemas_app),
    ("ledger", ledger_app),
    ("artifact", artifact_app),
    ("models", models_app),
    ("camera", camera_app),
    ("bridge", bridge_app),
):
    app.add_typer(_sub, name=_name)


def main() -> None:
    """Run the command line. Errors of ours are one sentence each; a traceback is a bug of ours."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        typer.secho(f"neverblink: {sentence}", fg=typer.colors.RED, err=True)
        sys.exit(EXIT_BAD_INPUT)


def _console() -> Any:
    """Return where tables go: as wide as the terminal, and wide enough for them where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=140)


def sentence_of(error: BaseException) -> str | None:
    """Return what an error says to a person, None when it is not one of ours.

    Every error class of this package carries a sentence; a missing extra is told by its name.
    """
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return sentence_of(error.exceptions[0])
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("neverblink"):
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "all")
        extra = command if command in {"camera", "scorer", "bridge", "drift", "ledger"} else "all"
        return f"this command needs the package {error.name}: install neverblink[{extra}]"
    return str(error) if type(error).__module__.startswith("neverblink.") else None


def _serve(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def _refuse_options_before(context: typer.Context, names: Sequence[str]) -> None:
    """Refuse options of a service that stand before its sub-command, where they would have no effect."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"write --{name} after {context.invoked_subcommand}")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


# The services


@camera_app.callback(invoke_without_command=True)
def camera(
    context: typer.Context,
    plant: _PLANT = _DEFAULT_PLANT,
    station: Annotated[
        list[str] | None, typer.Option(help="LINE/STATION to run; may be given again. Default: all stations.")
    ] = None,
) -> None:
    """Run camera nodes: trigger, grab, judge the image, publish the frame with its deadline."""
    if context.invoked_subcommand is not None:
        _refuse_options_before(context, ("plant", "station"))
        return
    from neverblink.camera.commands import run
    from neverblink.plant import load_plant

    _serve(run(load_plant(plant), station or ()))


@camera_app.command("learn-limits")
def camera_learn_limits(
    station: Annotated[str, typer.Option(help="LINE/STATION whose limits are learnt.")],
    plant: _PLANT = _DEFAULT_PLANT,
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
    from neverblink.camera.commands import learn_limits
    from neverblink.camera.learnt_limits import ENOUGH
    from neverblink.plant import load_plant

    learnt = learn_limits(load_plant(plant), station, images, pictures, every)
    for line in learnt.as_yaml(station):
        typer.echo(line)
    if learnt.pictures < ENOUGH:
        typer.secho(f"{learnt.pictures} pictures are few: learn from {ENOUGH}, over a shift", err=True)


@camera_app.command("sweep-objects")
def camera_sweep_objects(plant: _PLANT = _DEFAULT_PLANT) -> None:
    """Delete large images that are older than storage.objects_keep_h. Camera nodes do so by themselves."""
    from neverblink.camera.commands import sweep_objects
    from neverblink.plant import load_plant

    typer.echo(f"{sweep_objects(load_plant(plant))} hours of images deleted")


@app.command()
def scorer(
    plant: _PLANT = _DEFAULT_PLANT,
    instance: Annotated[
        str | None,
        typer.Option(help="This member's name in the group, stable over restarts. Default: the host."),
    ] = None,
) -> None:
    """Run a scorer: frames of all lines in, verdicts out. Start more of them to share the stations."""
    from neverblink.plant import load_plant
    from neverblink.scorer.commands import run

    _serve(run(load_plant(plant), instance))


@bridge_app.callback(invoke_without_command=True)
def bridge(
    context: typer.Context,
    plant: _PLANT = _DEFAULT_PLANT,
    line: Annotated[
        list[str] | None, typer.Option(help="Line to serve; may be given again. Default: all with a PLC.")
    ] = None,
) -> None:
    """Run the OPC UA bridge: tells each line's PLC the verdict before the part reaches the gate."""
    if context.invoked_subcommand is not None:
        _refuse_options_before(context, ("plant", "line"))
        return
    from neverblink.bridge.commands import run
    from neverblink.plant import load_sound_lines

    sound, faults = load_sound_lines(plant)
    _serve(run(sound, line, faults))


@bridge_app.command("certificate")
def bridge_certificate(
    plant: _PLANT = _DEFAULT_PLANT,
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
    from neverblink.bridge.commands import make_certificates
    from neverblink.plant import load_plant

    for sentence in make_certificates(load_plant(plant), line, also or (), days):
        typer.echo(sentence)


@bridge_app.command("nodes")
def bridge_nodes(
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file, for the node ids of one of its lines.")
    ] = None,
    line: Annotated[str | None, typer.Option(help="That line.")] = None,
) -> None:
    """Print the nodes that a PLC needs for a line as CSV: name, type, who writes it, what it means."""
    from neverblink.plant import load_plant
    from neverblink.plc.contract_files import node_list

    if (plant is None) is not (line is None):
        raise typer.BadParameter("--plant and --line go together: they name the line whose node ids are printed")
    settings = None
    if plant is not None and line is not None:
        settings = load_plant(plant).line(line).plc
    typer.echo(node_list(settings), nl=False)


@app.command()
def drift(
    plant: _PLANT = _DEFAULT_PLANT,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the state on disk here. Default: memory, rebuilt from Kafka.")
    ] = None,
) -> None:
    """Run the drift service: follows every station's distribution of pass scores and brightness."""
    from neverblink.drift.commands import run
    from neverblink.plant import load_plant

    _serve(run(load_plant(plant), data_dir))


@ledger_app.command("run")
def ledger_run(plant: _PLANT = _DEFAULT_PLANT) -> None:
    """Run the ledger service."""
    from neverblink.ledger.commands import run
    from neverblink.plant import load_plant

    _serve(run(load_plant(plant)))


@ledger_app.command("tail")
def ledger_tail(
    plant: _PLANT = _DEFAULT_PLANT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what arrives.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the latest verdicts.")] = 20,
) -> None:
    """Print the latest verdicts and what became of them at the gate."""
    from neverblink.ledger.commands import tail
    from neverblink.plant import load_plant

    tail(load_plant(plant), follow, limit)


@ledger_app.command("stats")
def ledger_stats(
    plant: _PLANT = _DEFAULT_PLANT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print yield, reasons, latencies and disagreements between gate and verdict."""
    from neverblink.ledger.commands import stats
    from neverblink.plant import load_plant

    stats(load_plant(plant), as_json)


# Brokers and PLCs for one machine


@app.command()
def broker(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 9092,
) -> None:
    """Run the development broker: Kafka's protocol in memory, on loopback only. Never for a plant."""
    from neverblink.kafka.development_broker import run

    telemetry.setup("broker", "development")
    _serve(run(port=port))


@app.command("plc-sim")
def plc_sim(
    plant: _PLANT = _DEFAULT_PLANT,
    line: Annotated[list[str] | None, typer.Option(help="Line to simulate; default: all with a PLC.")] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=100, help="Parts per second on each line.")] = 2.0,
    parts: Annotated[int, typer.Option(min=0, help="Stop the conveyor after so many; 0 is endless.")] = 0,
    standing: Annotated[
        bool, typer.Option("--standing", help="Wait for Conveyor.Run before the conveyor starts.")
    ] = False,
    truth: Annotated[Path | None, typer.Option(help="Write one line of JSON per part at a gate.")] = None,
) -> None:
    """Simulate the plant's PLCs at their endpoints: conveyor, verdict table, gate, watchdog."""
    from neverblink.demo.plc_simulator import run, simulated_lines
    from neverblink.plant import load_plant
    from neverblink.service_life import ready, run_service

    description = load_plant(plant)
    telemetry.setup("plc-sim", description.site)
    lines = simulated_lines(description, line, rate_per_s=rate, parts=parts, running=not standing)

    async def work(stop: asyncio.Event) -> None:
        await run(lines, stop, truth=truth, ready=lambda found: ready("plc-sim", lines=[s.endpoint for s in found]))

    _serve(run_service("plc-sim", work))


@topics_app.command("create")
def topics_create(plant: _PLANT = _DEFAULT_PLANT) -> None:
    """Create the topics that are missing and check the size limits of those that exist."""
    from neverblink.kafka import ensure_topics
    from neverblink.plant import load_plant

    created = asyncio.run(ensure_topics(load_plant(plant).kafka))
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
def plant_check(file: Annotated[Path, typer.Argument(help="The plant file.")] = _DEFAULT_PLANT) -> None:
    """Explain what is wrong with a plant file, or what it describes."""
    from neverblink.plant import load_plant

    plant = load_plant(file)
    typer.echo(f"{file}: site {plant.site}, Kafka {plant.kafka.bootstrap}")
    for line in plant.lines:
        plc = line.plc.endpoint if line.plc else "no PLC: verdicts are published and not told"
        typer.echo(
            f"  {line.name}: {line.timing.lead_s:.2f} s from trigger to gate, "
            f"{line.timing.budget_s:.2f} s of them for the verdict; {plc}"
        )
        for station in line.stations:
            typer.echo(f"    {station.name}: product {station.product}, {station.source.kind}, {station.trigger.kind}")


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
    """Write JSON Schemas, asyncapi.yaml, one example of every event, and the contract with the PLC."""
    from neverblink.events.schemas import export
    from neverblink.plc.contract_files import contract_json

    contract = folder / "plc" / "verdict-table.v1.json"
    for path in export(folder):
        typer.echo(str(path))
    contract.parent.mkdir(exist_ok=True)
    contract.write_text(contract_json(), encoding="utf-8")
    typer.echo(str(contract))


# Jobs


@app.command()
def fit(
    images: Annotated[Path, typer.Argument(help="Folder of good images, or one in MVTec layout.")],
    product: Annotated[str, typer.Option(help="Name of the product, as in the plant file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Artifact folder to write. Default: artifacts/PRODUCT.")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="timm's name of the network; `neverblink backbones` lists what was tried.")
    ] = "tf_efficientnet_lite0",
    weights: Annotated[Path | None, typer.Option(help="Weights file (safetensors) instead.")] = None,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Images are resized to this square.")] = 256,
    crop: Annotated[int | None, typer.Option(min=32, max=4096, help="Then only the centre is kept.")] = None,
    ratio: Annotated[float, typer.Option(min=0.0001, max=1, help="Share of patches in the memory bank.")] = 0.01,
    false_reject: Annotated[
        float | None,
        typer.Option(min=0.0001, max=0.5, help="Promise. Default: 0.01, or the tightest that the images allow."),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, max=1024, help="Score: mean of so many highest patches; 1 is the paper's maximum.")
    ] = 1,
    neighbours: Annotated[
        int, typer.Option("--eq7", min=0, max=64, help="Neighbours of the paper's re-weighting (eq. 7); 0 is without.")
    ] = 0,
    keep_aspect: Annotated[
        bool, typer.Option("--keep-aspect", help="Pad images to a square instead of stretching them.")
    ] = False,
    white_balance: Annotated[str | None, typer.Option(help="Fixed gains of red, green and blue: 1.1,1,0.9.")] = None,
    clahe: Annotated[
        float | None, typer.Option(min=1, max=40, help="Equalise local contrast (CLAHE) with this clip limit.")
    ] = None,
    brightness: Annotated[
        str, typer.Option(help="The bank knows each image once a factor: 0.8,1,1.2 for light that wavers.")
    ] = "1",
    region: Annotated[
        Path | None, typer.Option(help="What is judged: a mask image, or polygons in a YAML file.")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(min=32, max=8192, help="Cut large images into tiles of so many pixels.")
    ] = None,
    overlap: Annotated[float, typer.Option(min=0.05, max=0.75, help="Share of a tile that its neighbour sees.")] = 0.25,
    engine: Annotated[
        str, typer.Option(help="auto, torch, torch-cuda, openvino, openvino-bf16 or -int8 (both checked).")
    ] = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    memory: Annotated[
        float, typer.Option(min=1.25, help="GiB that the job may hold; more features go to a file.")
    ] = 4.0,
    scratch: Annotated[Path | None, typer.Option(help="Folder of that file. Default: the system's.")] = None,
    version: Annotated[str, typer.Option("--model-version", help="Version to write into the artifact.")] = "1",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit a model to pictures of good parts; no defect is needed. The threshold comes with its promise.

    `neverblink fit pictures/pcb --product pcb`

    docs/guides/onboarding.md says what each knob does, in numbers; `neverblink compare` tries them side by side.
    """
    from rich.console import Console

    from neverblink.trainer.commands import run_fit
    from neverblink.trainer.fit import settings_from

    settings = settings_from(
        {
            "product": product,
            "name": product,
            "version": version,
            "model": backbone,
            "weights": weights,
            "size": size,
            "crop": crop,
            "ratio": ratio,
            "false_reject": false_reject,
            "top": top,
            "neighbours": neighbours,
            "keep_aspect": keep_aspect,
            "white_balance": None if white_balance is None else white_balance.split(","),
            "clahe": None if clahe is None else {"clip_limit": clahe},
            "brightness": brightness.split(","),
            "region": region,
            "tiling": None if tile is None else {"tile": tile, "overlap": overlap},
            "engine": engine,
            "device": device,
            "memory_gib": memory,
            "scratch": scratch,
            "seed": seed,
        }
    )
    folder = out or Path("artifacts") / product
    run_fit(images, folder, settings, Console())
    typer.echo(str(folder))


@app.command()
def calibrate(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder; it stays as it is.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the recalibrated artifact.")],
    false_reject: Annotated[
        float | None,
        typer.Option(min=0.0001, max=0.5, help="Promise: at most this share of good parts is rejected, 95 % sure."),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            metavar="FP:FN", help="Cost of a false reject and of a missed defect, such as 1:50. Needs --images."
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0, help="A threshold of your own.")] = None,
    unsure: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.9, help="Also open a band below the threshold: at most this share of good parts above it."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder in MVTec layout: also tells how many of its images change side.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the artifact was fitted with.")] = None,
) -> None:
    """Choose another threshold for a model that stays as it is.

    A false-reject target needs no images: the artifact carries the scores of good images that its bank had not
    seen. Costs need labelled ones. However it was chosen, the new threshold comes with its promise.

    `neverblink calibrate artifacts/pcb --false-reject 0.05 --out artifacts/pcb-5`

    `neverblink calibrate artifacts/pcb --cost 1:50 --images pcb-labelled --out artifacts/pcb-cost`
    """
    from rich.console import Console

    from neverblink.trainer.commands import run_calibrate
    from neverblink.trainer.recalibrate import Cost, Wish

    wish = Wish(
        false_reject=false_reject,
        cost=None if cost is None else Cost.parse(cost),
        threshold=threshold,
        unsure=unsure,
    )
    run_calibrate(artifact, out, wish, images, weights, Console())
    typer.echo(str(out))


@app.command()
def update(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder; it stays as it is.")],
    images: Annotated[Path, typer.Argument(help="Folder of images of good parts, such as confirmed false alarms.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the updated artifact.")],
    version: Annotated[
        str | None,
        typer.Option("--model-version", help="Its version; default: 1-plus12 for version 1 and 12 images."),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.0001, max=1, help="At most this share of the images' patches goes into the bank.")
    ] = 0.01,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the artifact was fitted with.")] = None,
) -> None:
    """Teach a model more of what is normal, without fitting it anew.

    Only patches that surprise the model go into its memory bank. No image scores higher than before, so the
    threshold keeps its promise; a defect like a taught image scores lower too, so judge the result before it decides.

    `neverblink update artifacts/pcb confirmed-good --out artifacts/pcb-2`

    `neverblink evaluate pcb --artifact artifacts/pcb-2`
    """
    from rich.console import Console

    from neverblink.trainer.commands import run_update

    run_update(artifact, images, out, version, share, weights, Console())
    typer.echo(str(out))


@app.command()
def evaluate(
    images: Annotated[Path, typer.Argument(help="Folder in MVTec layout.")],
    artifact: Annotated[Path, typer.Option(help="Artifact folder.")],
    weights: Annotated[Path | None, typer.Option(help="Weights file that the artifact was fitted with.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write a page with plots and the worst images, and FILE.json beside it."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every image's score in it.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    engine: Annotated[
        Literal["auto", "torch", "torch-cuda", "openvino"],
        typer.Option(help="What runs the backbone; auto: torch-cuda on a GPU, openvino on a CPU."),
    ] = "auto",
    plant: Annotated[
        Path | None,
        typer.Option("--plant", "-p", help="Plant file: known defects are decided by its rules for the product."),
    ] = None,
    station: Annotated[
        str | None,
        typer.Option(help="LINE/STATION that the images come from, where the product's have different mm_per_px."),
    ] = None,
) -> None:
    """Judge a model on labelled images: ranking, localisation, and what its threshold finds and misses.

    The folder has `test/good`, one `test/DEFECT` per kind of defect, and masks in
    `ground_truth/DEFECT/NAME_mask.png` where there are any. The report is one file that opens without a network.

    `neverblink evaluate pcb --artifact artifacts/pcb --report pcb.html`

    `neverblink evaluate pcb --artifact artifacts/pcb-hybrid --plant plant.yaml`
    """

    from neverblink.trainer.commands import run_evaluate

    if station is not None and plant is None:
        raise typer.BadParameter("--station is one of the --plant file: name that too")
    run_evaluate(
        images,
        artifact,
        weights,
        as_json,
        _console(),
        report,
        device=device,
        engine=engine,
        plant=plant,
        station=station,
    )


@app.command()
def compare(
    images: Annotated[Path | None, typer.Argument(help="Folder in MVTec layout.", show_default=False)] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML list of configurations; --example prints one.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Models and comparison.json go here, and are found again.")] = Path(
        "runs/compare"
    ),
    product: Annotated[str | None, typer.Option(help="Name of the product. Default: the image folder's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a list to start from and stop.")] = False,
) -> None:
    """Fit and judge several configurations on the same images, in one table.

    Each item of the list says what differs from the defaults of `neverblink fit`. A model that is already in
    the folder, from the same images and settings, is not fitted again. Exit code 1: one of them failed.

    `neverblink compare --example > candidates.yaml`

    `neverblink compare pcb --config candidates.yaml`
    """

    from neverblink.trainer.commands import run_compare
    from neverblink.trainer.compare import EXAMPLE

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if images is None or config is None:
        raise typer.BadParameter("name a folder of images and --config FILE.yaml; --example prints such a file")
    # Where no terminal tells its width, the table needs more than the usual 80 columns.
    console = _console()
    if not run_compare(images, config, folder, product, as_json, console):
        raise typer.Exit(EXIT_BAD_RESULT)


@app.command()
def synthesize(
    images: Annotated[
        Path | None,
        typer.Argument(help="Folder of good images, or one in MVTec layout.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="New folder for the data set.")] = None,
    kinds: Annotated[str | None, typer.Option(help="Kinds to draw, such as scratch,stain. Default: all.")] = None,
    per_kind: Annotated[int, typer.Option(min=1, max=100_000, help="Images of each kind.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    region: Annotated[
        Path | None, typer.Option(help="Where defects may be: a mask image, or polygons in a YAML file.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Millimetres a pixel, for a policy in mm.")] = None,
    light: Annotated[
        float, typer.Option(min=-360, max=360, help="Degrees that light comes from: 0 right, 90 top, 180 left.")
    ] = 135,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Sizes, contrasts and counts; --example prints one.")
    ] = None,
    foreign: Annotated[Path | None, typer.Option(help="Folder of images that foreign objects are cut from.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a policy to start from and stop.")] = False,
) -> None:
    """Draw synthetic defects with masks on pictures of good parts, as a data set in MVTec layout.

    Writes `test/KIND`, `ground_truth/KIND`, `test/good`, what was drawn on which image (`synthesis.json`), and a
    contact sheet to look at before anything is trained or judged with it. docs/guides/known-defects.md has more.

    `neverblink synthesize pcb --out pcb-synthetic --kinds scratch,stain --per-kind 50`
    """
    from rich.console import Console

    from neverblink.trainer.commands import run_synthesize
    from neverblink.vision.synthesis import example as example_policy

    if example:
        typer.echo(example_policy(), nl=False)
        return
    if images is None or out is None:
        raise typer.BadParameter("name a folder of good images and --out FOLDER; --example prints a policy")
    run_synthesize(
        images,
        out,
        Console(),
        kinds=kinds,
        per_kind=per_kind,
        seed=seed,
        region=region,
        scale=scale,
        light=light,
        policy=policy,
        foreign=foreign,
    )
    typer.echo(str(out))


@app.command("train-unet")
def train_unet(
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders in MVTec layout with masks, real or synthetic.", show_default=False),
    ] = None,
    artifact: Annotated[Path | None, typer.Option(help="Artifact that the U-Net joins; it stays as it is.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the new artifact.")] = None,
    classes: Annotated[
        Literal["types", "binary"],
        typer.Option(help="types: tells defect types apart; binary: only defect or not, for few images a type."),
    ] = "types",
    resize: Annotated[
        int | None, typer.Option(min=32, max=4096, help="Side of its input, pixels; default: the artifact's.")
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="Network that it starts from, by timm's name; plain: none, from scratch.")
    ] = "tf_efficientnet_lite0",
    encoder_weights: Annotated[
        Path | None, typer.Option(help="Weights file of the encoder, where they are not installed.")
    ] = None,
    width: Annotated[int, typer.Option(min=4, max=256, help="Channels of its finest level.")] = 16,
    depth: Annotated[int, typer.Option(min=1, max=6, help="How often the image is halved.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, max=10_000, help="Epochs at most.")] = 40,
    patience: Annotated[int, typer.Option(min=1, max=10_000, help="Stop after so many without a better Dice.")] = 12,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Images a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(min=1e-6, max=1, help="Its highest value.")] = 2e-3,
    focal: Annotated[
        float, typer.Option(min=0, max=5, help="Focal loss: how strongly pixels that are right are left out.")
    ] = 0.0,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share that tries it after every epoch and sets its thresholds.")
    ] = 0.2,
    leave: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of real images that it never sees, for `evaluate`.")
    ] = 0.2,
    real_weight: Annotated[
        float, typer.Option(min=0.01, max=100, help="How often a real defect is shown for each synthetic one.")
    ] = 1.0,
    augmentation: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="How images are varied; --example prints such a file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same U-Net on a CPU.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, max=64, help="Threads that prepare images ahead, for a GPU.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File that is written after every epoch, to go on from with --resume.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint, where it is there.")] = False,
    version: Annotated[str | None, typer.Option("--model-version", help="Default: 1-unet for version 1.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an augmentation file and stop.")] = False,
) -> None:
    """Teach a model the defects that it will be strict on: a U-Net that outlines them.

    Tens of outlined defects are a start, synthetic ones from `neverblink synthesize` help. The U-Net joins the
    memory bank in a new artifact; PatchCore goes on catching what nobody has seen yet.

    `neverblink train-unet pcb pcb-synthetic --artifact artifacts/pcb --out artifacts/pcb-unet`

    `neverblink evaluate pcb --artifact artifacts/pcb-unet --report pcb.html`
    """
    from rich.console import Console

    from neverblink.trainer.teaching_commands import run_train_unet
    from neverblink.trainer.train_unet import TrainSettings, read_augmentation
    from neverblink.vision.defect_augmentation import Augmentation
    from neverblink.vision.defect_augmentation import example as example_augmentation
    from neverblink.vision.losses import LossSettings

    if example:
        typer.echo(example_augmentation(), nl=False)
        return
    if not images or artifact is None or out is None:
        raise typer.BadParameter(
            "name folders of images, --artifact FOLDER and --out FOLDER; --example prints a policy"
        )
    if resume and checkpoint is None:
        raise typer.BadParameter("--resume needs the --checkpoint file to go on from")
    settings = TrainSettings(
        encoder=encoder,
        weights=encoder_weights,
        width=width,
        depth=depth,
        classes=classes,
        epochs=epochs,
        patience=patience,
        batch=batch,
        learning_rate=learning_rate,
        loss=LossSettings(focal_gamma=focal),
        held_out=held_out,
        real_weight=real_weight,
        augmentation=Augmentation() if augmentation is None else read_augmentation(augmentation),
        seed=seed,
        device=device,
        workers=workers,
    )
    run_train_unet(
        images,
        artifact,
        out,
        settings,
        Console(),
        resize=resize,
        leave=leave,
        version=version,
        checkpoint=checkpoint,
        resume=resume,
    )
    typer.echo(str(out))


@app.command("train-classifier")
def train_classifier(
    images: Annotated[list[Path], typer.Argument(help="Folders in MVTec layout with masks or boxes.csv.")],
    artifact: Annotated[Path, typer.Option(help="Artifact that the classifier joins; it stays as it is.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new artifact.")],
    unknown_rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.5,
            help="Share of known defects that may be called unknown. Default: 5 %, or what is possible.",
        ),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below this confidence a defect is unknown too.")
    ] = 0.0,
    leave: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of images that it never sees, for `evaluate`.")
    ] = 0.2,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the artifact was fitted with.")] = None,
    drawn_only: Annotated[
        bool,
        typer.Option(
            "--drawn-only",
            help="Learn from masks and boxes alone, not from what the models mark: where they mark the wrong places.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    version: Annotated[str | None, typer.Option("--model-version", help="Default: 1-classifier for version 1.")] = None,
) -> None:
    """Teach a model the names of defects: a classifier on the features that it computes anyway.

    A few images of each type are enough. What resembles none of them is called unknown, at a stated rate for those
    that are known. Train the U-Net first: the classifier learns from what it outlines.

    `neverblink train-classifier pcb --artifact artifacts/pcb-unet --out artifacts/pcb-hybrid`
    """

    from neverblink.trainer.teaching_commands import run_train_classifier
    from neverblink.trainer.train_classifier import ClassifierSettings

    settings = ClassifierSettings(unknown_rate=unknown_rate, min_confidence=min_confidence, seed=seed)
    run_train_classifier(
        images,
        artifact,
        out,
        settings,
        _console(),
        weights=weights,
        leave=leave,
        drawn_only=drawn_only,
        version=version,
    )
    typer.echo(str(out))


@app.command()
def inspect(
    images: Annotated[
        Path | None, typer.Argument(help="Folder of images, with its sub-folders.", show_default=False)
    ] = None,
    artifact: Annotated[Path | None, typer.Option(help="Artifact folder.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of this inspection. Default: one of its own below runs/inspect."),
    ] = None,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Inspect frames that Kafka still keeps, from the plant's topic.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="Frames published from then on: 2026-11-01T06:00.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="INSTANT", help="Frames before that. Default: up to the start.")
    ] = None,
    line: Annotated[list[str] | None, typer.Option(help="Only of this line; may be given again.")] = None,
    station: Annotated[
        list[str] | None,
        typer.Option(help="LINE/STATION: only of this one, may be given again; where a folder's images come from."),
    ] = None,
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file: its Kafka, and its rules for the product.")
    ] = None,
    product: Annotated[str | None, typer.Option(help="What is inspected. Default: the artifact's product.")] = None,
    second: Annotated[
        Path | None, typer.Option(metavar="ARTIFACT", help="A stronger artifact that judges doubtful images again.")
    ] = None,
    second_from: Annotated[
        float,
        typer.Option(min=0, max=10, help="From this share of the threshold on, beside all rejected and unsure ones."),
    ] = 0.8,
    aql: Annotated[
        float | None, typer.Option(help="Inspect a sample by ISO 2859-1 with this AQL, percent: 0.65, 1.0, 2.5.")
    ] = None,
    lot_size: Annotated[
        int | None, typer.Option(min=2, help="Parts in the lot. Default: those that there are images of.")
    ] = None,
    level: Annotated[Literal["I", "II", "III"], typer.Option(help="General inspection level.")] = "II",
    tightened: Annotated[
        bool, typer.Option("--tightened", help="Tightened inspection: after 2 of 5 lots in a row were not accepted.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws the sample; the same seed draws the same parts.")] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|verdicts", help="Compare with an earlier inspection's Parquet file, or the plant's verdicts."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the artifact was fitted with.")] = None,
    second_weights: Annotated[Path | None, typer.Option(help="Weights file of the second artifact.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    engine: Annotated[
        Literal["auto", "torch", "torch-cuda", "openvino"],
        typer.Option(help="What runs the backbone; auto: torch-cuda on a GPU, openvino on a CPU."),
    ] = "auto",
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Images in one forward pass.")] = 32,
    save_every: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds of work that a kill may cost at most.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Inspect a folder, or frames from Kafka, as the scorer does, without a deadline: rows in Parquet and a report.

    An image that cannot be used is a row without a score. Killed or stopped half way, the same command goes on and
    comes to the same result. Nothing is committed or published on Kafka.

    `neverblink inspect pictures --artifact artifacts/pcb`

    `neverblink inspect pictures --artifact artifacts/pcb --aql 1.0 --lot-size 1000`

    `neverblink inspect --kafka -p plant.yaml --from 2026-11-01T06:00 --line line-1 --artifact artifacts/pcb-2 --against
    verdicts`

    Exit codes: 0 done; 1 the lot is not accepted, or no image has a score; 2 bad input or surroundings; 130 stopped.
    docs/guides/offline-inspection.md has more.
    """
    from neverblink.trainer.inspect_images import InspectSettings, LotSettings, SecondPass
    from neverblink.trainer.inspection_commands import Span, What, run_inspect
    from neverblink.trainer.topic_frames import instant

    if artifact is None:
        raise typer.BadParameter("name the model with --artifact FOLDER")
    if (images is None) is not kafka:
        raise typer.BadParameter("name a folder of images, or --kafka for frames, and not both")
    if kafka and (plant is None or since is None):
        raise typer.BadParameter("--kafka needs the --plant file and --from, the instant to begin with")
    if not kafka and (since is not None or until is not None):
        raise typer.BadParameter("--from and --to are for frames: they go with --kafka")
    if aql is None and lot_size is not None:
        raise typer.BadParameter("--lot-size is for a sampling plan: name its --aql too")
    source = images if since is None else Span(instant(since), None if until is None else instant(until))
    assert source is not None
    settings = InspectSettings(
        artifact,
        weights,
        second=None if second is None else SecondPass(second, second_from, second_weights),
        lot=None if aql is None else LotSettings(aql, lot_size, level, "tightened" if tightened else "normal", seed),
        device=device,
        engine=engine,
        batch=batch,
        save_every_s=save_every,
    )
    what = What(source, plant, product, line or (), station or (), against)
    if not run_inspect(what, settings, out, as_json, _console()):
        raise typer.Exit(EXIT_BAD_RESULT)


@app.command()
def backbones() -> None:
    """Print the networks that features can come from, and which come with their weights."""

    from neverblink.trainer.commands import list_backbones

    list_backbones(_console())


@artifact_app.command("inspect")
def artifact_inspect(folder: Annotated[Path, typer.Argument(help="Artifact folder.")]) -> None:
    """Verify an artifact and print what it is."""
    from rich.console import Console

    from neverblink.trainer.commands import inspect

    inspect(folder, Console())


@artifact_app.command("verify")
def artifact_verify(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    digest: Annotated[str | None, typer.Option(help="The identity it must have.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that it was fitted with.")] = None,
) -> None:
    """Check every digest, size and shape of an artifact, and that its backbone's weights are the right ones.

    Exit code 1: it is not whole, or not the one asked for; 2: there is no artifact.
    """
    from rich.console import Console

    from neverblink.trainer.commands import is_artifact_folder, verify
    from neverblink.vision.errors import VisionError

    try:
        verify(folder, digest, weights, Console())
    except VisionError as error:
        if not is_artifact_folder(folder):
            raise
        typer.secho(f"neverblink: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(EXIT_BAD_RESULT) from error


@artifact_app.command("export")
def artifact_export(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.zip", help="File to write; an older one is replaced.")
    ],
) -> None:
    """Write an artifact as one zip file: the same bytes for the same model, read back and verified."""
    from rich.console import Console

    from neverblink.trainer.commands import export

    export(folder, out, Console())


@artifact_app.command("import")
def artifact_import(
    file: Annotated[Path, typer.Argument(help="File that `artifact export` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Artifact folder to make.")],
    digest: Annotated[str | None, typer.Option(help="The identity it must have, as `export` printed it.")] = None,
) -> None:
    """Make an artifact folder from an exported file; what is not whole, or another model, is refused."""
    from rich.console import Console

    from neverblink.trainer.commands import import_

    import_(file, out, digest, Console())


# Models on running lines

_LINES = Annotated[list[str] | None, typer.Option("--line", help="All stations of a line; may be given again.")]
_STATIONS = Annotated[list[str] | None, typer.Option("--station", help="LINE/STATION; may be given again.")]
_PRODUCT = Annotated[str | None, typer.Option("--product", help="All stations that inspect it.")]
_THRESHOLD = Annotated[
    float | None, typer.Option(min=1e-6, help="Score above which a part is rejected. Default: the artifact's own.")
]
_BY = Annotated[str | None, typer.Option("--by", help="Who changes it. Default: the user of this machine.")]
_WHY = Annotated[str | None, typer.Option("--why", help="Why, for those who look later.")]


@models_app.command("show")
def models_show(
    plant: _PLANT = _DEFAULT_PLANT,
    line: _LINES = None,
    station: _STATIONS = None,
    product: _PRODUCT = None,
    seen: Annotated[
        float, typer.Option(min=0, max=3600, help="Compare with the verdicts of so many seconds; 0 does not.")
    ] = 30.0,
    history: Annotated[
        bool, typer.Option("--history", help="Earlier changes too, as far as the topic still holds them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print what is active and in shadow where, since when, by whom and why, and whether scorers score with it."""
    from neverblink.plant import load_plant
    from neverblink.trainer.models_commands import Which, run_show

    which = Which(line or (), station or (), product)
    run_show(load_plant(plant), which, seen_s=seen, history=history, as_json=as_json, console=_console())


@models_app.command("activate")
def models_activate(
    artifact: Annotated[
        str, typer.Argument(help="Artifact folder, its name under storage.artifacts, or its URL in the store.")
    ],
    plant: _PLANT = _DEFAULT_PLANT,
    line: _LINES = None,
    station: _STATIONS = None,
    product: _PRODUCT = None,
    threshold: _THRESHOLD = None,
    by: _BY = None,
    why: _WHY = None,
) -> None:
    """Let a model score, from the next frame on that a scorer takes once it has opened it; no frame is lost.

    `neverblink models activate pcb-4 --product pcb --why "four weeks of confirmed normals"`

    The artifact is verified first. One that lies outside storage.artifacts is copied to storage.artifact_store.
    """
    from neverblink.plant import load_plant
    from neverblink.trainer.models_commands import Which, run_activate

    which = Which(line or (), station or (), product)
    run_activate(load_plant(plant), which, artifact, threshold, _stamp(by, why), _console())


@models_app.command("shadow")
def models_shadow(
    artifact: Annotated[
        str | None, typer.Argument(help="Artifact folder, its name under storage.artifacts, or its URL in the store.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No model in shadow any more.")] = False,
    plant: _PLANT = _DEFAULT_PLANT,
    line: _LINES = None,
    station: _STATIONS = None,
    product: _PRODUCT = None,
    threshold: _THRESHOLD = None,
    by: _BY = None,
    why: _WHY = None,
) -> None:
    """Let a model score the same frames without acting, onto the topic of shadow verdicts."""
    from neverblink.plant import load_plant
    from neverblink.trainer.models_commands import Which, run_shadow

    if (artifact is None) is not off:
        raise typer.BadParameter("name an artifact, or --off, and not both")
    which = Which(line or (), station or (), product)
    run_shadow(load_plant(plant), which, artifact, threshold, _stamp(by, why), _console())


@models_app.command("threshold")
def models_threshold(
    threshold: Annotated[
        float | None, typer.Argument(min=1e-6, help="Score above which a part is rejected.", show_default=False)
    ] = None,
    own: Annotated[bool, typer.Option("--own", help="The artifact's own again.")] = False,
    plant: _PLANT = _DEFAULT_PLANT,
    line: _LINES = None,
    station: _STATIONS = None,
    product: _PRODUCT = None,
    by: _BY = None,
    why: _WHY = None,
) -> None:
    """Edit the threshold of the active model. Its promise no longer holds: `neverblink calibrate` tells another."""
    from neverblink.plant import load_plant
    from neverblink.trainer.models_commands import Which, run_threshold

    if (threshold is None) is not own:
        raise typer.BadParameter("name a threshold, or --own, and not both")
    run_threshold(load_plant(plant), Which(line or (), station or (), product), threshold, _stamp(by, why), _console())


@models_app.command("promote")
def models_promote(
    plant: _PLANT = _DEFAULT_PLANT,
    line: _LINES = None,
    station: _STATIONS = None,
    product: _PRODUCT = None,
    by: _BY = None,
    why: _WHY = None,
) -> None:
    """Let the model in shadow score. Scorers have it open already: it takes over within a second or so."""
    from neverblink.plant import load_plant
    from neverblink.trainer.models_commands import Which, run_promote

    run_promote(load_plant(plant), Which(line or (), station or (), product), _stamp(by, why), _console())


@models_app.command("rollback")
def models_rollback(
    plant: _PLANT = _DEFAULT_PLANT,
    line: _LINES = None,
    station: _STATIONS = None,
    product: _PRODUCT = None,
    by: _BY = None,
    why: _WHY = None,
) -> None:
    """Restore models, shadow and threshold as they were before the last change; a second time undoes the first."""
    from neverblink.plant import load_plant
    from neverblink.trainer.models_commands import Which, run_rollback

    run_rollback(load_plant(plant), Which(line or (), station or (), product), _stamp(by, why), _console())


def _stamp(by: str | None, why: str | None) -> "Stamp":
    """Return who changes models, why, and that it is now."""
    from neverblink.trainer.model_changes import Stamp

    try:
        return Stamp(by or getpass.getuser(), why, datetime.now(UTC))
    except (KeyError, OSError) as error:
        raise typer.BadParameter("this machine does not know who you are: name yourself with --by") from error


# The demonstration


@app.command()
def demo(
    parts: Annotated[
        int | None,
        typer.Option(min=1, help="End by itself after so many parts (with --images: on each line)."),
    ] = None,
    kafka: Annotated[
        str,
        typer.Option(help="`development` (memory), `local` (Apache Kafka on this machine's JVM), or HOST:PORT."),
    ] = "development",
    images: Annotated[Path | None, typer.Option(help="Real images in MVTec layout instead of drawn parts.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="ResNet-18 weights (safetensors) for --images. Default: looked for beside the images."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Parts per second on each line.")] = 2.0,
    folder: Annotated[Path, typer.Option(help="Where plant file, models, logs and ledger go.")] = Path("runs/demo"),
) -> None:
    """Run a whole plant on this machine: two lines, their PLCs, and every service as a process."""

    from neverblink.demo.service import DemoSettings, run

    settings = DemoSettings(parts=parts, kafka=kafka, images=images, weights=weights, rate_per_s=rate, folder=folder)
    # Where no terminal tells its width, the tables need more than the usual 80 columns.
    console = _console()
    raise typer.Exit(asyncio.run(run(settings, console)))
