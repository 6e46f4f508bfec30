"""A U-Net learns marked defects, keeps quiet on good parts, and a run that is cut off ends as if it never was."""

import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
import torch
from plates import write_plates
from scipy.stats import binom

from neverblink.trainer.datasets.defect_images import Box, DefectImage, defect_images
from neverblink.trainer.datasets.images import DatasetError, good_images
from neverblink.trainer.datasets.sample_store import SampleStore, shrunk
from neverblink.trainer.teaching.curriculum import Curriculum
from neverblink.trainer.teaching.defect_division import Division, divide
from neverblink.trainer.teaching.synthesize import SynthesizeSettings, synthesize
from neverblink.trainer.teaching.train_unet import TrainedUnet, learning_rate, train_unet
from neverblink.trainer.teaching.unet_checkpoint import CheckpointError, Epoch
from neverblink.trainer.teaching.unet_settings import TrainError, TrainSettings, read_augmentation
from neverblink.trainer.teaching.unet_thresholds import DiceCurve, alarm_bound, count_alarms, sure_levels
from neverblink.vision.decode import ImageError
from neverblink.vision.defect_augmentation import UNCHANGED, Augmentation, example
from neverblink.vision.losses import LossSettings
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan
from neverblink.vision.unet import load_unet, new_unet, spec_for, unet_tensors

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Preprocess(resize=64)


def settings(**changes: object) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "encoder": "plain",
            "width": 4,
            "depth": 2,
            "activation": "silu",
            "preprocess": SMALL,
            "epochs": 2,
            "least_steps": 2,
            "learning_rate": 1e-2,
            **changes,
        }
    )


def blob(seed: int, *, side: int = 64, places: int = 1, level: int = 230) -> tuple[np.ndarray, np.ndarray]:
    """Return a (side, side) grey part with bright discs, and their mask."""
    random = np.random.default_rng(seed)
    image = np.clip(random.normal(90, 6, (side, side)), 0, 255).astype(np.uint8)
    mask = np.zeros((side, side), np.uint8)
    for centre in random.integers(side // 5, side - side // 5, (places, 2)):
        cv2.circle(mask, centre.tolist(), side // 9, 255, -1)
    image[mask > 0] = level
    return image, mask


def write_blobs(folder: Path, count: int, *, defect: str = "blob", side: int = 64, level: int = 230) -> Path:
    """Write `count` images of one defect type, and three good ones to try, in MVTec layout."""
    for place in (f"test/{defect}", f"ground_truth/{defect}", "test/good"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask = blob(number, side=side, level=level)
        cv2.imwrite(str(folder / "test" / defect / f"{number:03}.png"), image)
        cv2.imwrite(str(folder / "ground_truth" / defect / f"{number:03}_mask.png"), mask)
    for number in range(3):
        cv2.imwrite(str(folder / "test/good" / f"{number:03}.png"), blob(900 + number, side=side, places=0)[0])
    return folder


def divided(images: list[DefectImage], good: list[Path] | None = None, share: float = 0.2) -> Division:
    return divide(images, good or [], store(), held_out=share, seed=0)


def store(tiling: TilePlan | None = None, *, in_memory: int = 1 << 30) -> SampleStore:
    return SampleStore(SMALL, tiling, in_memory=in_memory)


def same(one: TrainedUnet, other: TrainedUnet) -> bool:
    first, second = unet_tensors(one.unet), unet_tensors(other.unet)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("blobs"), 10)


def test_a_bright_blob_is_learnt_and_good_parts_stay_quiet(blobs: Path) -> None:
    found = train_unet(defect_images(blobs), [], settings(epochs=6, least_steps=10, batch=4, width=8))
    (result,) = found.held_out.classes
    assert (result.name, result.images) == ("blob", 2)
    assert result.dice is not None
    assert result.dice > 0.8
    assert (found.held_out.held_out_good, found.held_out.false_alarms) == (1, 0)
    assert found.spec.thresholds == (result.threshold,)
    assert not found.unet.training
    image, mask = blob(555)
    unet = load_unet(found.spec, unet_tensors(found.unet))
    pixels = torch.from_numpy(np.repeat(image[..., None], 3, axis=2)[None])
    marked = (torch.sigmoid(unet(pixels))[0, 0] > found.spec.threshold(0)).numpy()
    assert 2 * (marked & (mask > 0)).sum() / (marked.sum() + (mask > 0).sum()) > 0.8


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(blobs: Path) -> None:
    images = defect_images(blobs)
    first = train_unet(images, [], settings())
    torch.manual_seed(99)
    assert same(first, train_unet(images, [], settings()))
    assert not same(first, train_unet(images, [], settings(seed=1)))


def test_workers_and_little_memory_change_no_weight(blobs: Path) -> None:
    images = defect_images(blobs)
    assert same(train_unet(images, [], settings()), train_unet(images, [], settings(workers=3, memory_gib=0)))


class CutOffError(Exception):
    pass


def test_a_run_that_is_cut_off_and_resumed_ends_as_one_that_was_not(blobs: Path, tmp_path: Path) -> None:
    images, wanted, checkpoint = defect_images(blobs), settings(epochs=4), tmp_path / "runs" / "run.safetensors"

    def cut_off(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise CutOffError

    with pytest.raises(CutOffError):
        train_unet(images, [], wanted, checkpoint=checkpoint, on_epoch=cut_off)
    told: list[int] = []
    resumed = train_unet(
        images, [], wanted, checkpoint=checkpoint, resume=True, on_epoch=lambda epoch: told.append(epoch.number)
    )
    whole = train_unet(images, [], wanted)
    assert told == [3, 4]
    assert same(resumed, whole)
    assert resumed.spec == whole.spec
    assert [(epoch.loss, epoch.dice, epoch.learning_rate) for epoch in resumed.history] == [
        (epoch.loss, epoch.dice, epoch.learning_rate) for epoch in whole.history
    ]
    assert [path.name for path in checkpoint.parent.iterdir()] == ["run.safetensors"]
    again = train_unet(images, [], wanted, checkpoint=checkpoint, resume=True, on_epoch=cut_off)
    assert same(again, whole), "a finished run has nothing left to do"


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_gone_on_from(blobs: Path, tmp_path: Path) -> None:
    images, checkpoint = defect_images(blobs), tmp_path / "run.safetensors"
    train_unet(images, [], settings(epochs=1), checkpoint=checkpoint)
    with pytest.raises(CheckpointError, match="of other images or settings"):
        train_unet(images, [], settings(epochs=1, learning_rate=1e-3), checkpoint=checkpoint, resume=True)
    with pytest.raises(CheckpointError, match="of other images or settings"):
        train_unet(images[1:], [], settings(epochs=1), checkpoint=checkpoint, resume=True)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is damaged"):
        train_unet(images, [], settings(epochs=1), checkpoint=checkpoint, resume=True)


def test_training_stops_when_held_out_images_gain_no_more_and_keeps_the_best_epoch(blobs: Path) -> None:
    # At a learning rate of next to nothing no epoch is better than chance makes it.
    idle = settings(epochs=40, patience=3, warm_up=0).model_copy(update={"learning_rate": 1e-12})
    found = train_unet(defect_images(blobs), [], idle)
    dice = [epoch.mean_dice for epoch in found.history]
    assert len(found.history) == found.best_epoch + 3 < 40
    assert dice[found.best_epoch - 1] == max(dice)
    assert dice.index(max(dice)) == found.best_epoch - 1


def test_a_loss_that_is_no_number_stops_the_run_with_advice(blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(logits: torch.Tensor, *_: object) -> torch.Tensor:
        return logits.sum() * float("nan")

    monkeypatch.setattr("neverblink.trainer.teaching.train_unet.segmentation_loss", broken)
    with pytest.raises(TrainError, match="lower learning rate"):
        train_unet(defect_images(blobs), [], settings())


def test_a_type_with_one_image_is_learnt_and_reported_as_not_validated(tmp_path: Path) -> None:
    write_blobs(tmp_path, 6)
    write_blobs(tmp_path, 1, defect="rare", level=20)
    found = train_unet(defect_images(tmp_path), [], settings(epochs=1))
    assert found.spec.classes == ("blob", "rare")
    assert found.division.not_validated == ("rare",)
    rare = found.held_out.classes[1]
    assert (rare.images, rare.dice) == (0, None)
    assert found.history[0].dice["rare"] is None
    assert found.held_out.mean_dice == found.held_out.classes[0].dice


def test_a_binary_unet_has_one_class_for_all_types(tmp_path: Path) -> None:
    write_blobs(tmp_path, 5)
    write_blobs(tmp_path, 5, defect="dark", level=20)
    found = train_unet(defect_images(tmp_path), [], settings(classes="binary", epochs=1))
    assert found.spec.classes == ("defect",)
    assert found.held_out.classes[0].images == 2
    assert found.division.not_validated == ()


def test_without_any_mask_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    folder = write_blobs(tmp_path, 4)
    for mask in (folder / "ground_truth/blob").iterdir():
        mask.unlink()
    with pytest.raises(DatasetError, match=r"none of 7 images has a mask .* \(4 have no mask, 0 an empty one\)"):
        train_unet(defect_images(folder), [], settings())


def test_images_that_teach_nothing_are_counted_and_left_out(tmp_path: Path) -> None:
    folder = write_blobs(tmp_path, 8)
    (folder / "ground_truth/blob/001_mask.png").unlink()
    cv2.imwrite(str(folder / "ground_truth/blob/002_mask.png"), np.zeros((64, 64), np.uint8))
    found = divided(defect_images(folder))
    assert (found.without_mask, found.empty_masks) == (1, 1)
    assert len(found.defective) + len(found.held_out) == 6
    assert not {"001.png", "002.png"} & {image.path.name for image in (*found.defective, *found.held_out)}


def test_too_few_images_to_hold_one_out_is_said_with_how_many_it_takes(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="of 2 images with a mask no type has enough; to hold out 20% takes 3 images"
    ):
        divided(defect_images(write_blobs(tmp_path, 2)))
    write_blobs(tmp_path, 3)
    assert len(divided(defect_images(tmp_path)).held_out) == 1


@pytest.mark.parametrize("wrong", ["image", "mask", "size"])
def test_a_damaged_file_is_told_before_training_begins(tmp_path: Path, wrong: str) -> None:
    folder = write_blobs(tmp_path, 5)
    mask = folder / "ground_truth/blob/004_mask.png"
    match wrong:
        case "image":
            (folder / "test/good/002.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
        case "mask":
            mask.write_bytes(mask.read_bytes()[:-9])
        case _:
            cv2.imwrite(str(mask), np.full((32, 64), 255, np.uint8))
    with pytest.raises((ImageError, DatasetError), match="002.png" if wrong == "image" else "004_mask.png"):
        train_unet(defect_images(folder), [], settings(), on_epoch=lambda _: pytest.fail("an epoch was trained"))


def test_images_of_different_sizes_are_learnt_together(tmp_path: Path) -> None:
    folder = write_blobs(tmp_path, 4)
    write_blobs(folder, 4, defect="large", side=150, level=20)
    assert len(train_unet(defect_images(folder), [], settings(epochs=1)).history) == 1


def test_wrong_settings_are_one_sentence(blobs: Path) -> None:
    with pytest.raises(TrainError, match="cannot be halved 6 times; choose a multiple of 64 px"):
        train_unet(defect_images(blobs), [], settings(preprocess=Preprocess(resize=96), depth=6))


def test_synthetic_defects_are_learnt_from_and_real_ones_held_out(tmp_path: Path) -> None:
    real = write_plates(tmp_path / "real", train=12, test=6)
    drawing = SynthesizeSettings(kinds=("scratch", "pit"), per_kind=3)
    synthesize(good_images(real), tmp_path / "drawn", drawing)
    images = [*defect_images(real), *defect_images(tmp_path / "drawn")]
    found = divided(images, good_images(real), share=0.34)
    held = {(image.path.parents[2].name, image.types) for image in found.held_out}
    assert held == {("real", ("scratch",)), ("drawn", ("pit",))}, "no real image shows a pit"
    assert len(found.defective) + len(found.held_out) == 12
    assert {image.path.parents[2].name for image in (*found.good, *found.held_out_good)} == {"real"}
    drawn_on = {image.path.name for image in found.held_out_good if image.path.parent.parent.name == "train"}
    record = orjson.loads((tmp_path / "drawn/synthesis.json").read_bytes())
    sources = {defect["source"] for defect in record["defects"]}
    assert not drawn_on & sources


def test_every_defect_is_seen_once_an_epoch_and_good_images_in_their_share(tmp_path: Path) -> None:
    folder = write_plates(tmp_path / "plates", train=20, test=20)
    found, samples = divided(defect_images(folder), good_images(folder)), store()
    plan = Curriculum(found, samples, good_share=0.5, balance=0.5, real_weight=1, at_least=4, seed=0)
    for number in (1, 2):
        shown = [place.image for place in plan.epoch(number)]
        defective = [image for image in shown if image.defective]
        assert sorted(image.path for image in defective) == sorted(image.path for image in found.defective)
        assert len(shown) == len(plan) == 2 * len(defective)
        assert len({image.path for image in shown}) == len(shown)
    assert plan.epoch(1) == plan.epoch(1) != plan.epoch(2)


def test_rare_types_come_as_often_as_common_ones_when_balanced(tmp_path: Path) -> None:
    write_blobs(tmp_path, 16)
    write_blobs(tmp_path, 4, defect="rare", level=20)
    found, samples = divided(defect_images(tmp_path)), store()
    shown = {}
    for balance in (0, 1):
        plan = Curriculum(found, samples, good_share=0, balance=balance, real_weight=1, at_least=1, seed=0)
        epoch = plan.epoch(1)
        shown[balance] = sum(place.image.types == ("rare",) for place in epoch) / len(epoch)
    assert shown[0] == 3 / 16
    assert shown[1] == pytest.approx(0.5, abs=0.07)


def test_few_images_come_several_times_an_epoch(tmp_path: Path) -> None:
    found, samples = divided(defect_images(write_blobs(tmp_path, 3))), store()
    plan = Curriculum(found, samples, good_share=0.25, balance=0, real_weight=1, at_least=16, seed=0)
    assert [place.image.defective for place in plan.epoch(1)].count(True) == 12
    assert len(plan) == 16


def test_boxes_give_each_type_its_part_of_the_mask(tmp_path: Path) -> None:
    image, mask = blob(1, places=2)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    boxes = (Box(0, 0, 20, 64, "left"), Box(20, 0, 64, 64, "right"), Box(0, 0, 2, 2, "gone"))
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    (sample,) = store().samples(DefectImage(tmp_path / "a.png", ("gone", "left", "right"), tmp_path / "m.png", boxes))
    masks, known = sample.targets(("gone", "left", "other", "right"))
    assert known.tolist() == [False, True, True, True], "a type without its mask must not teach that it is absent"
    assert np.array_equal(masks[1] | masks[3], mask > 0)
    assert not masks[2].any()
    assert not masks[1][:, 20:].any()


def test_tiles_with_the_defect_are_marked_and_those_without_are_good_inputs(tmp_path: Path) -> None:
    image = np.full((64, 128), 90, np.uint8)
    mask = np.zeros((64, 128), np.uint8)
    mask[20:30, 125:128] = 255
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (tmp_path / "m.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    samples = store(TilePlan(tile=64, overlap=0.05)).samples(
        DefectImage(tmp_path / "a.png", ("x",), tmp_path / "m.png")
    )
    assert [bool(sample.masks) for sample in samples] == [False, False, True]
    assert all(sample.targets(("x",)).known.all() for sample in samples)


def test_a_scratch_finer_than_the_networks_pixels_does_not_vanish() -> None:
    mask = np.zeros((1024, 1024), np.bool_)
    mask[100:900, 500] = True
    mask[10:60, 10:60] = True
    found = shrunk(mask, SMALL)
    assert found[7:56, 31].all(), "one of sixteen columns is marked, half of no pixel"
    assert found[1:3, 1:3].all()
    assert not found[5, 5]


@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA names no folder of real images")
def test_every_type_of_real_magnetic_tiles_is_held_out_and_their_empty_masks_are_counted() -> None:
    images = [
        image for image in defect_images(Path(os.environ["NEVERBLINK_DATA"]) / "magnetic-tile") if image.defective
    ]
    found = divided(images)
    assert found.types == ("blowhole", "break", "crack", "fray", "uneven")
    assert (found.empty_masks, found.not_validated) == (4, ())
    assert len(found.defective) + len(found.held_out) == 388


def test_samples_beyond_the_memory_are_read_again_and_are_the_same(blobs: Path) -> None:
    images = [image for image in defect_images(blobs) if image.defective]
    kept, some = store(), store(in_memory=3 * 64 * 64 * 4)
    for image in images:
        for one, other in zip(kept.samples(image), some.samples(image), strict=True):
            assert np.array_equal(one.pixels, other.pixels)
            assert all(np.array_equal(one.masks[name], other.masks[name]) for name in one.masks)
    assert (kept.kept, some.kept) == (len(images), 3)


def test_dice_and_the_best_threshold_are_exact() -> None:
    random = np.random.default_rng(3)
    truth = random.random((40, 40)) < 0.2
    probabilities = np.clip(random.normal(np.where(truth, 0.6, 0.3), 0.15), 0, 1).astype(np.float32)
    curve = DiceCurve()
    curve.add(probabilities[:20], truth[:20])
    curve.add(probabilities[20:], truth[20:])

    curve.add(probabilities, np.zeros_like(truth))  # an image without a defect has no Dice

    def dice(threshold: float) -> float:
        halves = zip(np.split(probabilities > threshold, 2), np.split(truth, 2), strict=True)
        return float(np.mean([2 * (marked & own).sum() / (marked.sum() + own.sum()) for marked, own in halves]))

    for threshold in (0.05, 0.3, 0.5, 0.777):
        assert curve.dice(threshold) == pytest.approx(dice(threshold))
    best = max(dice(step / 1000) for step in range(1, 1000))
    assert curve.highest() == pytest.approx(best)
    assert dice(curve.best()) >= best - 0.001


def test_without_a_defect_pixel_there_is_no_dice_and_one_half_is_the_threshold() -> None:
    curve = DiceCurve()
    curve.add(np.full((4, 4), 0.7, np.float32), np.zeros((4, 4), np.bool_))
    assert curve.dice(0.5) is None
    assert curve.best() == 0.5


def test_a_class_that_was_not_learnt_gets_no_threshold_that_marks_everything() -> None:
    curve, truth = DiceCurve(), np.zeros((50, 50), np.bool_)
    truth[0, :5] = True
    curve.add(np.where(truth, 0.02, 0.03).astype(np.float32), truth)
    assert curve.highest() == pytest.approx(2 * 5 / (2500 + 5))
    assert curve.best() == 0.5


DEFECTS = [np.array([5, 9, 40], np.float32), np.array([20, 25, 40], np.float32)]


def test_regions_need_more_evidence_until_good_images_stay_quiet_where_it_costs_the_fewest_defects() -> None:
    good = np.array([[0, 7], [0, 8], [6, 6], [0, 0]], np.float32)
    before = sure_levels(good, DEFECTS, None)
    assert before == (0, 0)
    assert count_alarms(good, before) == 3
    one = sure_levels(good, DEFECTS, 0.25)
    assert count_alarms(good, one) == 1
    assert one == (0, 8), "raising the second class loses nothing, and one alarm may stay"
    none = sure_levels(good, DEFECTS, 0.0)
    assert count_alarms(good, none) == 0
    assert none[0] == 6


def test_a_single_odd_part_does_not_decide_for_all() -> None:
    good = np.array([[0]] * 39 + [[60]], np.float32)
    assert sure_levels(good, DEFECTS[1:], 0.02) == (0,)
    assert sure_levels(good, DEFECTS[1:], 0.0) == (60,)


def test_the_bound_on_false_alarms_is_that_of_clopper_and_pearson() -> None:
    assert alarm_bound(0, 59) == pytest.approx(0.0495, abs=1e-4), "1 − 0.05 ** (1 / 59)"
    assert alarm_bound(4, 4) == 1.0
    assert alarm_bound(0, 0) is None
    bound = alarm_bound(7, 120)
    assert bound is not None
    assert binom.cdf(7, 120, bound) == pytest.approx(0.05), "so few alarms would be this unlikely beyond the bound"


def test_an_augmentation_is_read_from_yaml_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "augmentation.yaml"
    path.write_text(example())
    assert read_augmentation(path) == Augmentation()
    path.write_text("vertical-flip: 0\nrotation: 2\n")
    assert read_augmentation(path) == Augmentation(vertical_flip=0, rotation=2)
    path.write_text("rotation: 200\n")
    with pytest.raises(TrainError, match=r"augmentation.yaml, rotation: .*less than or equal to 45"):
        read_augmentation(path)
    path.write_text("- flip\n")
    with pytest.raises(TrainError, match="names and amounts"):
        read_augmentation(path)


def test_progress_counts_images_and_then_steps_to_the_end(blobs: Path) -> None:
    told: list[tuple[str, int, int]] = []
    train_unet(defect_images(blobs), [], settings(), lambda *stage: told.append(stage))
    assert told[0] == ("reading images", 1, 13)
    assert [stage for stage in told if stage[0] == "training"][-1] == ("training", 6, 6)


def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    rates = [learning_rate(step, 100, 10) for step in range(100)]
    assert rates[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert rates[55] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


def test_a_pretrained_encoder_stays_as_it_is_at_a_rate_of_nothing(blobs: Path) -> None:
    images, name = defect_images(blobs), "network.encoder.conv_stem.weight"
    wanted = settings(encoder="tf_efficientnet_lite0", width=8, epochs=1, least_steps=1, encoder_rate=0)
    spec = spec_for(wanted.encoder, ("blob",), preprocess=SMALL, width=8, depth=2)
    fresh = dict(new_unet(spec, seed=0).named_parameters())[name]
    for rate, kept in ((0, True), (0.5, False)):
        found = train_unet(images, [], wanted.model_copy(update={"encoder_rate": rate})).unet
        assert torch.equal(dict(found.named_parameters())[name], fresh) is kept


def test_loss_and_augmentation_of_the_settings_are_used(blobs: Path) -> None:
    images = defect_images(blobs)
    plain = train_unet(images, [], settings(augmentation=UNCHANGED))
    assert not same(plain, train_unet(images, [], settings()))
    assert not same(plain, train_unet(images, [], settings(augmentation=UNCHANGED, loss=LossSettings(bce=1, dice=0))))
