"""Jobs that make models and judge them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from neverblink.cli.application import EXIT_BAD_RESULT, app, wide_console


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
        wide_console(),
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
    from neverblink.trainer.evaluation.compare import EXAMPLE

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if images is None or config is None:
        raise typer.BadParameter("name a folder of images and --config FILE.yaml; --example prints such a file")
    # Where no terminal tells its width, the table needs more than the usual 80 columns.
    console = wide_console()
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

    from neverblink.trainer.teaching.train_unet import TrainSettings, read_augmentation
    from neverblink.trainer.teaching_commands import run_train_unet
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

    from neverblink.trainer.teaching.train_classifier import ClassifierSettings
    from neverblink.trainer.teaching_commands import run_train_classifier

    settings = ClassifierSettings(unknown_rate=unknown_rate, min_confidence=min_confidence, seed=seed)
    run_train_classifier(
        images,
        artifact,
        out,
        settings,
        wide_console(),
        weights=weights,
        leave=leave,
        drawn_only=drawn_only,
        version=version,
    )
    typer.echo(str(out))
