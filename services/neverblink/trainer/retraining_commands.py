"""`neverblink retrain` and `neverblink keep-reviewed`: what to learn from, how far it is, what came of it."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neverblink.decisions.rules import rules_of
from neverblink.job_life.terminal import progress_bar, say
from neverblink.model_registry import registry
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.changes import ModelsError, Stamp, Target, Which
from neverblink.model_registry.what_scores import described, scoring_slot
from neverblink.plant import Plant, load_plant
from neverblink.trainer.datasets.confirmed_images import confirmed_images, known_parts
from neverblink.trainer.reports.pages import check_place
from neverblink.trainer.retraining.report import comparison, write_retraining_report
from neverblink.trainer.retraining.retrain import Evidence, Retrained, RetrainSettings, retrain
from neverblink.trainer.retraining.reviewed_images import Kept, keep_reviewed


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders of confirmed images; `reviews`: the normals' one is first brought up to date with the plant's reviews.

    `champion` None: the model that scores the plant's stations now.
    """

    normals: Path
    defects: Sequence[Path] = ()
    challenge: Sequence[Path] = ()
    champion: Path | None = None
    plant: Path | None = None
    which: Which = field(default_factory=Which)
    reviews: bool = False


def run_retrain(
    sources: Sources,
    out: Path,
    settings: RetrainSettings,
    console: Console,
    *,
    report: Path | None = None,
    shadow: Stamp | None = None,
    as_json: bool = False,
) -> bool:
    """Make a challenger, print how it does against the champion, write the report; True when it is promotable.

    A promotable one is put in shadow where `shadow` says who does that. Raises VisionError, PlantError, ModelsError,
    KafkaError.
    """
    place = check_place(report or out.with_name(f"{out.name}.html")).html
    # Nothing but the JSON goes to standard output, so that it can be piped.
    shown = Console(stderr=True) if as_json else console
    plant = None if sources.plant is None else load_plant(sources.plant)
    chosen: tuple[Target, ...] = ()
    if plant is not None and (sources.champion is None or sources.reviews or shadow is not None):
        chosen = sources.which.of(plant)
    elif plant is None and (sources.champion is None or sources.reviews or shadow is not None):
        raise ModelsError(
            "name the champion's folder, or the --plant file and the stations whose model, reviews and shadow are meant"
        )
    if plant is not None and sources.reviews:
        since = _since(settings, sources)
        with progress_bar(shown, "reviews") as progress:
            kept = keep_reviewed(plant, chosen, sources.normals, since=since, progress=progress)
        _tell_kept(kept, sources.normals, shown)
    with _champion(sources, plant, chosen) as (champion, threshold, product):
        if plant is not None:
            name = product or (chosen[0].product if chosen else plant.products[0].name)
            shifts = plant.drift
            settings = replace(
                settings,
                window=replace(settings.window, shifts=shifts.shifts_begin_h, zone=ZoneInfo(shifts.time_zone)),
                rules=rules_of(plant, name, chosen[0].key if chosen else None),
                weights=settings.weights or plant.product(name).weights,
                champion_threshold=threshold,
            )
        evidence = _evidence(sources, [target.key for target in chosen])
        with progress_bar(shown, out.name) as progress:
            done = retrain(champion, out, evidence, settings, progress)
        written = write_retraining_report(done, place)
    if as_json:
        console.print_json(
            orjson.dumps(done.trial.as_dict() | {"artifact": str(out), "report": str(written.html)}).decode()
        )
    else:
        _tell(done, console)
    say(shown, f"report: {written.html}, figures: {written.json}")
    if shadow is not None and plant is not None:
        if done.promotable:
            why = shadow.why or f"retrained on {done.learnt} confirmed normals, report {written.html.name}"
            stamp = replace(shadow, why=why)
            changed = asyncio.run(registry.shadow(plant, sources.which, str(out), None, stamp))
            for note in changed.notes:
                shown.print(escape(f"note: {note}"))
            for event in changed.events:
                shown.print(escape(described(event)))
            shown.print("scorers open it while the old model scores on; `neverblink models show` says what scores")
        else:
            say(shown, "it was refused, so it is not put in shadow; `neverblink models shadow` does so nevertheless")
    return done.promotable


def run_keep_reviewed(plant: Path, which: Which, folder: Path, days: float, console: Console) -> None:
    """Keep the images of reviewed parts that Kafka still has, and bring the folder's index up to date."""
    described = load_plant(plant)
    with progress_bar(console, folder.name) as progress:
        kept = keep_reviewed(
            described,
            which.of(described),
            folder,
            since=datetime.now(UTC) - timedelta(days=days),
            progress=progress,
        )
    _tell_kept(kept, folder, console)


def _since(settings: RetrainSettings, sources: Sources) -> datetime:
    window = settings.window
    return (window.until or datetime.now(UTC)) - timedelta(days=window.days)


@contextmanager
def _champion(
    sources: Sources, plant: Plant | None, chosen: Sequence[Target]
) -> Iterator[tuple[Path, float | None, str | None]]:
    """Yield the champion's folder, the threshold it was edited to, and its product where the stations tell it."""
    if sources.champion is not None:
        yield sources.champion, None, chosen[0].product if chosen else None
        return
    assert plant is not None
    slot = asyncio.run(scoring_slot(plant, chosen))
    with tempfile.TemporaryDirectory(prefix="neverblink-champion-") as place:
        store = ArtifactStore(plant.storage)
        manifest, _ = store.manifest(slot.location, Path(place), digest=slot.artifact.digest)
        store.files(slot.location, manifest, Path(place))
        yield Path(place), slot.threshold, manifest.product


def _evidence(sources: Sources, stations: Sequence[str]) -> Evidence:
    confirmed = confirmed_images(sources.normals, stations)
    defects = [part for folder in sources.defects for part in known_parts(folder)]
    challenge = [part for folder in sources.challenge for part in known_parts(folder)]
    return Evidence(
        confirmed.normals, defects=[*confirmed.defects, *defects], challenge=[*confirmed.challenge, *challenge]
    )


def _tell(done: Retrained, console: Console) -> None:
    table = Table("", f"champion {done.champion.version}", f"challenger {done.artifact.version}")
    for row in comparison(done.trial):
        table.add_row(*map(escape, row))
    console.print(table)
    for doubt in done.trial.doubts:
        say(console, f"note: {doubt}")
    if done.trial.refusal is None:
        console.print("nothing speaks against promoting it", style="green")
    else:
        console.print(escape(f"refused: {done.trial.refusal}"), style="red", soft_wrap=True, highlight=False)


def _tell_kept(kept: Kept, folder: Path, console: Console) -> None:
    say(console, f"{kept.reviewed} reviewed parts; {kept.new} images came to {folder}")
    if kept.missing:
        say(
            console,
            f"{kept.missing} have no image: their frames are no longer kept. Run `neverblink keep-reviewed` more often,"
            " or keep frames longer",
        )
    if kept.unreadable:
        say(console, f"{kept.unreadable} images could not be read")
