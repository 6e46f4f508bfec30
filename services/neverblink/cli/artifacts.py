"""Models as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from neverblink.cli.application import EXIT_BAD_RESULT, app, artifact_app, wide_console
from neverblink.job_life.terminal import say, shown

if TYPE_CHECKING:
    from neverblink.vision.artifact_manifest import ClassifierPart, UnetPart
    from neverblink.vision.calibration import Calibration
    from neverblink.vision.named_regions.spec import RegionsSpec


@app.command(short_help="Print the networks that features can come from.")
def backbones() -> None:
    """Print the networks that features can come from, and which come with their weights."""
    from neverblink.vision.backbones import known_backbones

    console = wide_console()
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


@artifact_app.command("inspect")
def artifact_inspect(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    plant: Annotated[
        Path | None, typer.Option("--plant", "-p", help="Plant file: what rejects a part is said by its rules.")
    ] = None,
) -> None:
    """Verify an artifact and print what it is, what rejects a part and what all of it promises.

    `neverblink artifact inspect artifacts/pcb-hybrid --plant plant.yaml`
    """
    from neverblink.plant import load_plant

    # A plant file that is not there is told before what takes a second to load.
    described = None if plant is None else load_plant(plant)

    from neverblink.decisions.promise import promise_of, rejected_when
    from neverblink.decisions.rules import DEFAULT_RULES, rules_for
    from neverblink.vision.artifact import load_artifact

    artifact = load_artifact(folder)
    rules = DEFAULT_RULES if described is None else rules_for(described.product(artifact.product))
    manifest = artifact.manifest
    calibration = manifest.calibration
    bank = artifact.bank
    table = Table("field", Column("value", overflow="fold"), title=shown(str(folder)))
    for name, value in (
        ("name, version", f"{artifact.name} {artifact.version}"),
        ("product", artifact.product),
        ("digest", artifact.digest),
        ("backbone", f"{artifact.backbone.model}, levels {artifact.backbone.levels}"),
        ("weights", f"{artifact.backbone.weights} ({artifact.backbone.source})"),
        ("input", f"{artifact.backbone.preprocess.side} px{'' if manifest.tiling is None else ', in tiles'}"),
        ("alignment", "–" if manifest.alignment is None else manifest.alignment.sentence()),
        ("regions", "–" if manifest.named_regions is None else _regions(manifest.named_regions, artifact.threshold)),
        ("engine", manifest.engine),
        *((f"also runs on {one.name}", f"scores differ by at most {one.difference:.1e}") for one in manifest.engines),
        ("memory bank", f"{bank.shape[0]} × {bank.shape[1]}, {manifest.provenance.coreset_ratio:.1%} of all patches"),
        ("threshold", f"{artifact.threshold:.4f}, chosen by {calibration.method}"),
        ("rejected when", "\n".join(rejected_when(manifest, rules))),
        ("unsure from", "–" if calibration.unsure_from is None else _of_threshold(calibration)),
        ("promise", promise_of(manifest, rules)),
        ("by", rules.title),
        ("U-Net", "–" if manifest.unet is None else _unet(manifest.unet)),
        ("classifier", "–" if manifest.classifier is None else _classifier(manifest.classifier)),
        ("training images", str(len(manifest.provenance.images))),
        ("made", f"{manifest.created:%Y-%m-%d %H:%M} UTC"),
    ):
        table.add_row(name, shown(value))
    Console().print(table)


def _of_threshold(calibration: "Calibration") -> str:
    return f"{(calibration.unsure_from or 0) / calibration.threshold:.2f} of the threshold"


def _regions(spec: "RegionsSpec", threshold: float) -> str:
    lines = [spec.sentence()]
    for region in spec.regions:
        if region.kind == "ignored":
            continue
        said = f"{region.name}: rejects from a distance of {region.level * threshold:.4g}"
        said += f", {region.share:.1%} of the promise"
        if region.kind == "presence":
            counts = ", ".join(f"{count} {state}" for state, count in region.examples.items())
            said += f"; examples: {counts or 'none'}"
        lines.append(said)
    return "\n".join(lines)


def _unet(part: "UnetPart") -> str:
    spec = part.spec
    dice = ", ".join(f"{name} {'–' if value is None else f'{value:.4f}'}" for name, value in part.dice.items())
    return (
        f"{spec.encoder}, {spec.preprocess.side} px, {', '.join(spec.classes)}; trained with {len(part.images)} images;"
        f" Dice on {part.held_out} held-out images: {dice}"
    )


def _classifier(part: "ClassifierPart") -> str:
    return f"{', '.join(part.spec.types)}; {part.spec.statement()}"


@artifact_app.command("verify")
def artifact_verify(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    digest: Annotated[str | None, typer.Option(help="The identity it must have.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that it was fitted with.")] = None,
) -> None:
    """Check every digest, size and shape of an artifact, and that its backbone's weights are the right ones.

    Exit code 1: it is not whole, or not the one asked for; 2: there is no artifact.
    """
    from neverblink.vision.artifact_manifest import MANIFEST
    from neverblink.vision.errors import VisionError

    try:
        said = _verified(folder, digest, weights)
    except VisionError as error:
        if not (folder / MANIFEST).is_file():
            raise
        typer.secho(f"neverblink: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(EXIT_BAD_RESULT) from error
    say(Console(), said)


def _verified(folder: Path, digest: str | None, weights: Path | None) -> str:
    """Check everything that an artifact says about itself, and its backbone's weights where they are at hand.

    Raises ArtifactError or WeightsError with the first thing that is not as it should be.
    """
    from neverblink.vision.artifact import load_artifact
    from neverblink.vision.backbones import reload_backbone
    from neverblink.vision.defect_finder import DefectFinder

    artifact = load_artifact(folder, digest=digest)
    # Builds U-Net and classifier: their names and shapes are theirs to check.
    DefectFinder(artifact)
    if artifact.backbone.source == "file" and weights is None:
        said = "its weights come from a file; name it with --weights to have them checked too"
    else:
        reload_backbone(artifact.backbone, weights=weights)
        said = "its weights are the right ones"
    return f"{folder} is whole: {artifact.name} {artifact.version}, {artifact.digest}; {said}"


@artifact_app.command("export")
def artifact_export(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.zip", help="File to write; an older one is replaced.")
    ],
) -> None:
    """Write an artifact as one zip file: the same bytes for the same model, read back and verified."""
    from neverblink.model_registry import archive

    artifact = archive.export_artifact(folder, out)
    say(Console(), f"{out}: {artifact.name} {artifact.version}, {artifact.digest}")


@artifact_app.command("import")
def artifact_import(
    file: Annotated[Path, typer.Argument(help="File that `artifact export` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Artifact folder to make.")],
    digest: Annotated[str | None, typer.Option(help="The identity it must have, as `export` printed it.")] = None,
) -> None:
    """Make an artifact folder from an exported file; what is not whole, or another model, is refused."""
    from neverblink.model_registry import archive

    artifact = archive.import_artifact(file, out, digest=digest)
    say(Console(), f"{out}: {artifact.name} {artifact.version}, {artifact.digest}")
