"""The jobs that make and judge models, as commands: progress bars, tables, JSON."""

from pathlib import Path
from typing import Literal

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from neverblink.decisions.rules import DEFAULT_RULES, ProductRules, rules_of
from neverblink.job_life.terminal import progress_bar, progress_bars, say
from neverblink.model_registry import archive
from neverblink.plant import PlantError, load_plant
from neverblink.trainer.datasets.defect_images import defect_images
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.trainer.defect_tables import tables
from neverblink.trainer.evaluation import report
from neverblink.trainer.evaluation.compare import RESULTS, Row, compare, product_of, read_configurations
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.evaluation.figures import Evaluation
from neverblink.trainer.evaluation.known_defects import KnownDefects
from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT
from neverblink.trainer.reports import pages as report_pages
from neverblink.trainer.teaching.synthesize import SynthesizeSettings, read_kinds, read_policy, read_region, synthesize
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import MANIFEST, ClassifierPart, UnetPart
from neverblink.vision.backbones import known_backbones, reload_backbone
from neverblink.vision.defect_finder import DefectFinder
from neverblink.vision.network_names import EngineName
from neverblink.vision.synthesis import KINDS
from neverblink.vision.synthesis import Policy as Drawings


def run_evaluate(
    images: Path,
    artifact: Path,
    weights: Path | None,
    as_json: bool,
    console: Console,
    place: Path | None = None,
    *,
    device: str = "cpu",
    engine: EngineName | Literal["auto"] = "auto",
    plant: Path | None = None,
    station: str | None = None,
) -> None:
    """Evaluate on the test part of an MVTec layout, print the figures, and write a report to `place`.

    Known defects are decided by the rules of the artifact's product in the `plant` file, where one is named.
    """
    found = labelled_images(images)
    if place is not None:
        # A report that cannot be written is told before the images are scored, not after.
        report_pages.check_place(place)
    # Nothing but the JSON goes to standard output, so that it can be piped.
    shown = Console(stderr=True) if as_json else console
    model = load_artifact(artifact)
    rules, own_weights = (DEFAULT_RULES, None) if plant is None else _product(plant, artifact, model.product, station)
    known = KnownDefects(defect_images(images), model, rules) if model.parts else None
    with progress_bar(shown, artifact.name) as progress:
        result = evaluate(
            found,
            artifact,
            weights or own_weights,
            progress,
            device=device,
            engine=engine,
            rules=rules,
            witness=(lambda *_: None) if known is None else known.add,
        )
    defects = None if known is None else known.evaluation()
    if known is not None and known.left_out:
        say(shown, f"known defects: {known.left_out} images were left out, the model was trained with them")
    if known is None and plant is not None:
        say(shown, f"{artifact} has neither U-Net nor classifier: it is judged by its threshold, whatever the rules")
    if place is not None:
        written = report.write_report(result, place, subject=images.resolve().name, defects=defects)
        say(shown, f"report: {written.html}, figures: {written.json}")
    if as_json:
        more = {} if defects is None else {"known_defects": defects.as_dict()}
        console.print_json(orjson.dumps(result.as_dict() | more).decode())
        return
    console.print(_figures(result, f"{artifact.name} on {images.name}"))
    console.print(_classes(result))
    for table in () if defects is None else tables(defects):
        console.print(table)


def _product(plant: Path, artifact: Path, name: str, station: str | None) -> tuple[ProductRules, Path | None]:
    """Return the rules of the artifact's product, and the weights file that its plant file names."""
    description = load_plant(plant)
    try:
        weights = description.product(name).weights
    except PlantError as error:
        raise PlantError(f"{artifact} is a model of product {name}, and {plant} does not fit: {error}") from error
    return rules_of(description, name, station), weights


def run_synthesize(
    images: Path,
    out: Path,
    console: Console,
    *,
    kinds: str | None,
    per_kind: int,
    seed: int,
    region: Path | None,
    scale: float | None,
    light: float,
    policy: Path | None,
    foreign: Path | None,
) -> None:
    """Write a data set of synthetic defects with a progress bar, and say where to look."""
    settings = SynthesizeSettings(
        kinds=KINDS if kinds is None else read_kinds(kinds),
        per_kind=per_kind,
        seed=seed,
        region=None if region is None else read_region(region),
        scale=scale,
        light=light,
        policy=Drawings() if policy is None else read_policy(policy),
        foreign=() if foreign is None else good_images(foreign),
    )
    found = good_images(images)
    with progress_bar(console, images.name) as progress:
        written = synthesize(found, out, settings, progress)
    say(
        console,
        f"{written.defective} images with defects, {written.good} good ones; look at {written.sheet}",
    )


def run_compare(
    images: Path, configurations: Path, folder: Path, product: str | None, as_json: bool, console: Console
) -> bool:
    """Compare configurations and print one table; False when one of them failed."""
    chosen = read_configurations(configurations, product or product_of(images))
    shown = Console(stderr=True) if as_json else console
    with progress_bars(shown) as titled:
        rows = compare(images, chosen, folder, titled)
    if as_json:
        console.print_json(orjson.dumps([row.as_dict() for row in rows]).decode())
    else:
        console.print(_comparison(rows, f"{len(rows)} configurations on {images.name}"))
        for row in rows:
            if row.fault is not None:
                console.print(escape(f"{row.label} failed: {row.fault}"), style="red", soft_wrap=True)
        say(console, f"figures: {folder / RESULTS}")
    return all(row.fault is None for row in rows)


def inspect(folder: Path, console: Console) -> None:
    """Verify an artifact and print what it is."""
    artifact = load_artifact(folder)
    manifest = artifact.manifest
    calibration = manifest.calibration
    bank = artifact.bank
    table = Table("field", Column("value", overflow="fold"), title=escape(str(folder)))
    for name, value in (
        ("name, version", f"{artifact.name} {artifact.version}"),
        ("product", artifact.product),
        ("digest", artifact.digest),
        ("backbone", f"{artifact.backbone.model}, levels {artifact.backbone.levels}"),
        ("weights", f"{artifact.backbone.weights} ({artifact.backbone.source})"),
        ("input", f"{artifact.backbone.preprocess.side} px{'' if manifest.tiling is None else ', in tiles'}"),
        ("engine", manifest.engine),
        *((f"also runs on {one.name}", f"scores differ by at most {one.difference:.1e}") for one in manifest.engines),
        ("memory bank", f"{bank.shape[0]} × {bank.shape[1]}, {manifest.provenance.coreset_ratio:.1%} of all patches"),
        ("threshold", f"{artifact.threshold:.4f}, chosen by {calibration.method}"),
        ("unsure from", "–" if calibration.unsure_from is None else f"{calibration.unsure_from:.4f}"),
        ("promise", calibration.statement()),
        ("U-Net", "–" if manifest.unet is None else _unet(manifest.unet)),
        ("classifier", "–" if manifest.classifier is None else _classifier(manifest.classifier)),
        ("training images", str(len(manifest.provenance.images))),
        ("made", f"{manifest.created:%Y-%m-%d %H:%M} UTC"),
    ):
        table.add_row(name, escape(value))
    console.print(table)


def verify(folder: Path, digest: str | None, weights: Path | None, console: Console) -> None:
    """Check everything that an artifact says about itself, and its backbone's weights where they are at hand.

    Raises ArtifactError or WeightsError with the first thing that is not as it should be.
    """
    artifact = load_artifact(folder, digest=digest)
    # Builds U-Net and classifier: their names and shapes are theirs to check.
    DefectFinder(artifact)
    if artifact.backbone.source == "file" and weights is None:
        said = "its weights come from a file; name it with --weights to have them checked too"
    else:
        reload_backbone(artifact.backbone, weights=weights)
        said = "its weights are the right ones"
    say(console, f"{folder} is whole: {artifact.name} {artifact.version}, {artifact.digest}; {said}")


def is_artifact_folder(folder: Path) -> bool:
    """Say whether there is anything to verify."""
    return (folder / MANIFEST).is_file()


def export(folder: Path, path: Path, console: Console) -> None:
    """Write an artifact as one zip file and print its identity."""
    artifact = archive.export_artifact(folder, path)
    say(console, f"{path}: {artifact.name} {artifact.version}, {artifact.digest}")


def import_(path: Path, folder: Path, digest: str | None, console: Console) -> None:
    """Make an artifact folder from an exported zip file and print its identity."""
    artifact = archive.import_artifact(path, folder, digest=digest)
    say(console, f"{folder}: {artifact.name} {artifact.version}, {artifact.digest}")


def list_backbones(console: Console) -> None:
    """Print the networks that features can come from."""
    table = Table("name", "weights installed", "levels", "pooling", "numbers per patch", Column("what", ratio=1))
    for known in known_backbones():
        table.add_row(
            known.name,
            "yes" if known.packaged else "no",
            ", ".join(map(str, known.levels)),
            str(known.pooling),
            str(known.dimension),
            known.about,
        )
    console.print(table)
    console.print("Any other network of timm works by its name too.")


def _unet(part: UnetPart) -> str:
    spec = part.spec
    dice = ", ".join(f"{name} {_or_dash(value)}" for name, value in part.dice.items())
    return (
        f"{spec.encoder}, {spec.preprocess.side} px, {', '.join(spec.classes)}; trained with {len(part.images)} images;"
        f" Dice on {part.held_out} held-out images: {dice}"
    )


def _classifier(part: ClassifierPart) -> str:
    return f"{', '.join(part.spec.types)}; {part.spec.statement()}"


def _figures(result: Evaluation, title: str) -> Table:
    table = Table("figure", "value", title=escape(title))
    latency, unsure = result.latency, result.unsure
    table.add_row("image AUROC", f"{result.image_auroc:.4f}")
    table.add_row("average precision", f"{result.average_precision:.4f}")
    table.add_row("pixel AUROC", _or_dash(result.pixels.auroc))
    table.add_row(f"AU-PRO up to {PRO_LIMIT:.0%}", _or_dash(result.pixels.au_pro))
    table.add_row("false rejects", f"{result.false_rejects} of {result.good} ({result.false_reject_rate:.1%})")
    table.add_row("missed defects", f"{result.missed} of {result.defective} ({1 - result.found:.1%})")
    table.add_row("precision, F1", f"{_or_dash(result.precision)}, {result.f1:.4f}")
    table.add_row("best F1, chosen on this test", f"{result.best_f1.f1:.4f} at {result.best_f1.threshold:.4f}")
    if result.calibration.unsure_from is not None:
        table.add_row("unsure", f"{unsure[0]} good, {unsure[1]} defective")
    table.add_row("timed", escape(latency.models))
    table.add_row(f"one image ({result.engine})", f"{latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms")
    table.add_row(f"in batches of {latency.batch}", f"{latency.images_per_s:.1f} images/s")
    pixels = result.pixels
    if pixels.empty_masks or pixels.without_mask:
        table.add_row("left out of pixel figures", f"{pixels.empty_masks} empty masks, {pixels.without_mask} without")
    return table


def _classes(result: Evaluation) -> Table:
    table = Table("defect", "images", "missed", "recall", "AUROC", "pixel AUROC", "AU-PRO")
    for kind in result.classes:
        table.add_row(
            escape(kind.name),
            str(kind.images),
            str(kind.missed),
            f"{kind.recall:.3f}",
            f"{kind.auroc:.4f}",
            _or_dash(kind.pixel_auroc),
            _or_dash(kind.au_pro),
        )
    return table


def _comparison(rows: list[Row], title: str) -> Table:
    names = ("AUROC", "pixel AUROC", "AU-PRO", "recall", "false rejects", "promised", "ms/image", "bank MB", "fit s")
    table = Table("configuration", *(Column(name, justify="right") for name in names), title=escape(title))
    for row in rows:
        if row.fault is not None:
            table.add_row(escape(row.label), *("–" for _ in names))
            continue
        table.add_row(
            escape(row.label),
            _or_dash(row.image_auroc),
            _or_dash(row.pixel_auroc),
            _or_dash(row.au_pro),
            f"{row.recall:.1%}",
            f"{row.false_rejects} of {row.good}",
            f"≤ {100 * (row.promised_false_reject or 0):.3g} %",
            f"{row.p50_ms:.1f}",
            f"{row.bank_mb:.1f}",
            f"{row.fit_seconds:.1f}{' (kept)' if row.fitted_before else ''}",
        )
    return table


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
