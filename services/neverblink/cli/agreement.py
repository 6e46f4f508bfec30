"""Whether people, and the machine, judge parts alike: an attribute agreement study."""

import getpass
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, EXIT_BAD_RESULT, PLANT, msa_app, read_plant, wide_console
from neverblink.cli.jobs import Screen
from neverblink.job_life.terminal import progress_bar, say

if TYPE_CHECKING:
    from neverblink.agreement.asking.sitting import Sitting
    from neverblink.agreement.results import StudyResult
    from neverblink.agreement.sources import Source

STUDY = Annotated[Path, typer.Argument(help="The study's folder.")]
_KEYS = {"g": "good", "d": "defective"}


@msa_app.command("new")
def msa_new(
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
    appraiser: Annotated[list[str], typer.Option("--appraiser", help="Who judges; may be given again.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder with good and defect/TYPE instead of the records.")
    ] = None,
    plant: PLANT = DEFAULT_PLANT,
    product: Annotated[str | None, typer.Option("--product", help="Whose parts, from the records.")] = None,
    line: Annotated[str | None, typer.Option("--line", help="Parts of one line alone.")] = None,
    days: Annotated[float, typer.Option(min=0.1, max=3650, help="Parts of the last days.")] = 28.0,
    parts: Annotated[int, typer.Option(min=2, max=500, help="How many parts.")] = 50,
    defective: Annotated[float, typer.Option(min=0.01, max=0.99, help="Which share of them is defective.")] = 0.35,
    near: Annotated[
        float, typer.Option(min=0, max=1, help="Which share is near the threshold: 0.85 to 1.15 of it.")
    ] = 0.3,
    rounds: Annotated[int, typer.Option(min=1, max=10, help="How often each part is judged.")] = 3,
    seed: Annotated[int, typer.Option(help="Draws and shuffles.")] = 0,
) -> None:
    """Choose parts for a study and copy their pictures under blind names.

    `neverblink msa new studies/pcb-spring --product pcb --appraiser Anna --appraiser Ben --appraiser Chris`

    `neverblink msa new studies/pcb-cards --images golden/pcb --appraiser Anna --appraiser Ben`
    """
    if (images is None) == (product is None):
        raise typer.BadParameter("parts come from the records of a --product, or from a folder of --images: name one")
    described = None if images is not None else read_plant(plant)
    from neverblink.agreement.choosing import Wanted
    from neverblink.agreement.making import make_study
    from neverblink.agreement.sources import FolderSource, RecordsSource
    from neverblink.agreement.study import Terms

    terms = Terms.of(name=out.resolve().name, seed=seed, rounds=rounds, appraisers=tuple(appraiser))
    now = datetime.now(UTC)
    source: Source
    if images is not None:
        source = FolderSource.at(images)
    else:
        assert described is not None
        assert product is not None
        source = RecordsSource.of(described, product, since=now - timedelta(days=days), until=now, line=line)
    screen = Screen(as_json=False)
    with progress_bar(screen.console, "") as progress:
        made = make_study(out, source, terms, Wanted(parts, defective, near), now, progress)
    types = ", ".join(f"{kind} {count}" for kind, count in made.types.items())
    close = "" if images is not None else f", {made.near} near the threshold"
    screen.say(f"{out}: {made.good} good parts, {made.defective} defective ones ({types}){close}")
    if made.lost:
        screen.say(f"{made.lost} pictures are lost or cannot be read; others took their place")
    screen.say(f"reference.json says what the parts are: keep it from those who judge, {', '.join(terms.appraisers)}")
    screen.say(f"next: neverblink msa ask {out} --by {terms.appraisers[0]!r}")


@msa_app.command("ask")
def msa_ask(
    study: STUDY,
    by: Annotated[str | None, typer.Option("--by", help="Who judges. Default: the user of this machine.")] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Keys here and a picture file, where there is no browser.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Ask one person for one round, blind: a page with the picture, g for good, d for defective, b to go back.

    Each answer is on disk before the next part is shown: stopped half way, the same command goes on.

    `neverblink msa ask studies/pcb-spring --by Anna`
    """
    from neverblink.agreement.asking.answers import AnswerFile
    from neverblink.agreement.asking.sitting import Sitting
    from neverblink.agreement.study import appraiser_of, read_study

    plan = read_study(study)
    name = appraiser_of(plan, getpass.getuser() if by is None else by)
    console = wide_console()
    with AnswerFile(study, plan, name) as answers:
        sitting = Sitting(plan, answers, lambda: datetime.now(UTC), time.monotonic)
        if sitting.round is None:
            say(
                console,
                f"{name} has judged all {plan.rounds} rounds; neverblink msa report {study} says what came of it",
            )
            return
        if terminal:
            _ask_here(study, sitting)
        else:
            _ask_on_a_page(study, sitting, name, open_browser)
        if sitting.next() is not None:
            say(console, "stopped: the same command goes on from here")
            raise typer.Exit(130)
    left = plan.rounds - sitting.round
    more = f"; {left} more: let some hours pass, so that no part is remembered" if left else ": that was the last"
    say(console, f"round {sitting.round} of {plan.rounds} is done{more}")


def _ask_on_a_page(folder: Path, sitting: "Sitting", name: str, open_browser: bool) -> None:
    import webbrowser

    from neverblink.agreement.asking.page import AskingPage

    with AskingPage(sitting, folder, name) as page:
        typer.echo(f"{name}, round {sitting.round}: open {page.url} on this machine; Ctrl-C ends the sitting")
        if open_browser:
            webbrowser.open(page.url)
        try:
            # A person decides how long it takes; the wait is cut so that a Ctrl-C is heard on every system.
            while not page.finished.wait(0.5):
                pass
        except KeyboardInterrupt:
            return


def _ask_here(folder: Path, sitting: "Sitting") -> None:
    from neverblink.agreement.asking.sitting import blind_png

    with TemporaryDirectory(prefix="neverblink-ask-") as place:
        picture = Path(place, "part.png")
        while (asked := sitting.next()) is not None:
            picture.write_bytes(blind_png(folder, asked.part))
            typer.echo(f"round {asked.round} of {asked.rounds}, part {asked.place} of {asked.of}: look at {picture}")
            try:
                key = typer.prompt("g good, d defective, b back, q quit", prompt_suffix=" > ").strip().lower()[:1]
            except typer.Abort:
                return
            if key == "q":
                return
            if key == "b" and not sitting.back():
                typer.echo("this is the first part of the round")
            elif key == "g":
                sitting.answer("good")
            elif key == "d":
                sitting.answer("defective")
            elif key != "b":
                typer.echo("g, d, b or q, please")


@msa_app.command("machine")
def msa_machine(
    study: STUDY,
    artifact: Annotated[Path, typer.Option("--artifact", help="Artifact folder.")],
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file: the product's rules decide, as on the line.")
    ] = None,
    station: Annotated[str | None, typer.Option("--station", help="LINE/STATION, for its scale.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, help="Instead of the artifact's own threshold.")] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="File of the backbone's weights.")] = None,
) -> None:
    """Have an artifact judge the study's parts, as a scorer does: the machine is an appraiser like others.

    `neverblink msa machine studies/pcb-spring --artifact artifacts/pcb --plant plant.yaml`
    """
    described = None if plant is None else read_plant(plant)
    from neverblink.agreement.asking.machine import artifact_sight, ask_machine
    from neverblink.agreement.study import read_study
    from neverblink.decisions.rules import DEFAULT_RULES, rules_of
    from neverblink.vision.artifact import read_manifest

    plan = read_study(study)
    manifest, _ = read_manifest(artifact)
    rules = DEFAULT_RULES if described is None else rules_of(described, manifest.product, station)
    if described is not None:
        weights = weights or described.product(manifest.product).weights
    answers, look = artifact_sight(artifact, rules, threshold=threshold, weights=weights)
    screen = Screen(as_json=False)
    with progress_bar(screen.console, artifact.name) as progress:
        kept = ask_machine(study, plan, answers, look, progress)
    rejected = sum(one != "pass" for one in kept.rounds[0].values())
    screen.say(f"{kept.name} rejects {rejected} of {len(plan.parts)} parts; the report has it beside the people")


@msa_app.command("report")
def msa_report(
    study: STUDY,
    out: Annotated[Path | None, typer.Option("--out", help="HTML file. Default: report.html in the study.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say how far people and machine agree with themselves, with one another and with what the parts are.

    Exit code 1 when somebody is unacceptable by the manual's limits.
    """
    from neverblink.agreement.limits import Grade
    from neverblink.agreement.report import write_study_report
    from neverblink.agreement.results import result_of

    result = result_of(study)
    screen = Screen(as_json=as_json)
    with progress_bar(screen.console, "") as progress:
        written = write_study_report(result, study, out or study / "report.html", progress)
    found = result.findings
    if as_json:
        screen.json(written.json.read_bytes())
    else:
        _show(result, screen)
        for sentence in found.sentences:
            screen.say(f"{sentence}.")
        for sentence in result.left_out:
            screen.say(f"not in the figures: {sentence}")
    screen.say(f"report: {written.html}")
    if found.grade is Grade.UNACCEPTABLE:
        raise typer.Exit(EXIT_BAD_RESULT)


def _show(result: "StudyResult", screen: Screen) -> None:
    from rich.table import Table

    from neverblink.agreement.report import kappa_text
    from neverblink.job_life.terminal import shown
    from neverblink.reports.figures import between, share

    figures = result.figures
    table = Table(
        "appraiser", "rounds", "right every time", "misses", "false alarms", "kappa", "alike", "by the manual",
        title=f"{shown(result.study.name)}: {figures.good} good parts, {figures.defective} defective",
    )  # fmt: skip
    for one in figures.appraisers:
        rates = [
            f"{share(rate.share)} ({between((rate.low, rate.high))})"
            for rate in (one.effectiveness, one.misses, one.false_alarms)
        ]
        alike = "–" if one.alike is None else share(one.alike.share)
        table.add_row(shown(one.name), str(one.rounds), *rates, kappa_text(one.against), alike, str(one.grade or "–"))
    screen.tables(table)
    right = figures.all_right
    if right is not None:
        bounds = between((right.low, right.high))
        screen.say(
            f"all people judged {right.count} of {right.total} parts right every time ({bounds});"
            f" kappa between them {kappa_text(figures.between)}"
        )
