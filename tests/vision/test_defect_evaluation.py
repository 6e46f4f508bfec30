"""Figures of known defects are what one counts by hand on parts of 16 × 16 pixels."""

import os
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspected_parts import SIDE, finding, inspected, labelled, plane
from rich.console import Console
from sklearn.metrics import average_precision_score

from neverblink.cli.evaluation import _defect_tables
from neverblink.trainer.datasets.defect_images import DefectImage, defect_images, types_of
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.evaluation.defect_evaluation import DefectTally, InspectedImage
from neverblink.trainer.evaluation.defect_figures import DefectEvaluation, DefectType
from neverblink.trainer.evaluation.evaluate import EXAMPLES
from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.vision.decode import read_image
from neverblink.vision.hybrid import mark, named
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.unet_spec import UnetSpec

UNET = UnetSpec(classes=("crack", "pit"), thresholds=(0.5, 0.3))
CRACK = (2, 2, 10, 4)
PIT = (12, 12, 14, 14)
NOWHERE = (6, 8, 9, 11)


def evaluation_of(
    *parts: InspectedImage, unet: UnetSpec | None = None, types: tuple[str, ...] | None = ("crack", "pit")
) -> DefectEvaluation:
    tally = DefectTally(unet, types)
    for part in parts:
        tally.add(part)
    return tally.evaluation()


def type_of(evaluation: DefectEvaluation, name: str) -> DefectType:
    return next(found for found in evaluation.types if found.name == name)


def called(evaluation: DefectEvaluation) -> dict[tuple[str, str], int]:
    """Return the cells of the confusion matrix that are not empty."""
    confusion = evaluation.confusion
    return {
        (row, column): count
        for row, counts in zip(confusion.rows, confusion.counts, strict=True)
        for column, count in zip(confusion.columns, counts, strict=True)
        if count
    }


# Pixels


def test_dice_and_iou_are_counted_in_pixels_and_averaged_over_images_that_show_the_type() -> None:
    evaluation = evaluation_of(
        # Of 16 labelled pixels 8 are marked, and 4 others.
        inspected(labelled(crack=[CRACK]), probabilities=[plane((2, 2, 6, 4), (10, 10, 14, 11)), plane()]),
        # All 16 are.
        inspected(labelled(crack=[CRACK]), probabilities=[plane(CRACK), plane()]),
        # And 4 of a good part, which has no Dice of its own.
        inspected(labelled(), probabilities=[plane((0, 0, 2, 2)), plane()]),
        unet=UNET,
    )
    pixels = type_of(evaluation, "crack").pixels
    assert pixels is not None
    assert (pixels.pooled.right, pixels.pooled.wrong, pixels.pooled.missed) == (24, 8, 8)
    assert pixels.dice == pytest.approx(48 / 64)
    assert pixels.iou == pytest.approx(24 / 40)
    assert pixels.mean_dice == pytest.approx((16 / 28 + 1) / 2)
    assert pixels.mean_iou == pytest.approx((8 / 20 + 1) / 2)
    assert pixels.images == 2


def test_a_pixel_belongs_to_a_class_above_the_threshold_of_that_class() -> None:
    planes = [plane(CRACK, value=0.4), plane(PIT, value=0.4)]
    part = inspected(labelled(crack=[CRACK], pit=[PIT]), probabilities=planes, thresholds=UNET.thresholds)
    evaluation = evaluation_of(part, unet=UNET)
    crack, pit = (type_of(evaluation, name).pixels for name in ("crack", "pit"))
    assert crack is not None
    assert pit is not None
    assert (crack.dice, pit.dice) == (0, 1)
    # No threshold is needed to see that both are ranked perfectly.
    assert crack.average_precision == crack.au_pro == 1


def test_an_image_that_the_unet_did_not_run_for_counts_as_marked_nowhere() -> None:
    evaluation = evaluation_of(inspected(labelled(crack=[CRACK])), unet=UNET)
    pixels = type_of(evaluation, "crack").pixels
    assert pixels is not None
    assert (pixels.pooled.right, pixels.pooled.wrong, pixels.pooled.missed) == (0, 0, 16)
    assert pixels.dice == 0


def test_a_unet_that_sees_coarsely_is_judged_in_the_pixels_of_the_image() -> None:
    coarse = plane((0, 0, 4, 8), side=8)
    part = inspected(labelled(crack=[(0, 0, 8, 16)]), probabilities=[coarse, plane(side=8)])
    pixels = type_of(evaluation_of(part, unet=UNET), "crack").pixels
    assert pixels is not None
    assert pixels.dice == 1


def test_a_hair_fine_defect_of_a_very_large_image_keeps_its_pixels() -> None:
    fine, side = (100, 100, 101, 2000), 4096
    part = inspected(labelled(crack=[fine]), probabilities=[plane(side=64), plane(side=64)], side=side)
    pixels = type_of(evaluation_of(part, unet=UNET), "crack").pixels
    assert pixels is not None
    assert 470 <= pixels.pooled.missed <= 480


def test_the_anomaly_map_is_not_blamed_for_finding_the_other_defect_too() -> None:
    both = inspected(labelled(crack=[CRACK], pit=[PIT]), anomaly_map=plane(CRACK, PIT))
    evaluation = evaluation_of(both)
    assert type_of(evaluation, "crack").anomaly_au_pro == type_of(evaluation, "pit").anomaly_au_pro == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=4, max_size=40))
def test_average_precision_of_pixels_is_the_usual_one(pixels: list[tuple[int, bool]]) -> None:
    values = np.array([[value / 8 for value, _ in pixels]], np.float32)
    truth = np.array([[defect for _, defect in pixels]])
    ranking = PixelRanking()
    ranking.add(values, truth)
    if truth.all() or not truth.any():
        assert ranking.average_precision() is None
    else:
        assert ranking.average_precision() == pytest.approx(average_precision_score(truth[0], values[0]))


# One channel for all defects

ALIKE = UnetSpec(classes=("defect",))


def test_one_channel_outlines_every_type() -> None:
    evaluation = evaluation_of(
        # Of 16 pixels of the crack 8 are marked, and 4 where nothing is labelled.
        inspected(labelled(crack=[CRACK]), probabilities=[plane((2, 2, 6, 4), (10, 10, 14, 11))]),
        # Of 4 pixels of the pit all are marked.
        inspected(labelled(pit=[PIT]), probabilities=[plane(PIT)]),
        unet=ALIKE,
    )
    crack, pit = (type_of(evaluation, name).pixels for name in ("crack", "pit"))
    assert crack is not None
    assert pit is not None
    assert (crack.pooled.right, crack.pooled.wrong, crack.pooled.missed) == (8, 4, 8)
    assert (pit.dice, pit.iou) == (1, 1)
    assert crack.mean_dice == crack.dice == pytest.approx(16 / 28)
    assert evaluation.mean_dice == pytest.approx((16 / 28 + 1) / 2)


def test_one_channel_is_not_blamed_for_marking_the_other_type_too() -> None:
    both = inspected(labelled(crack=[CRACK], pit=[PIT]), probabilities=[plane(CRACK, PIT, (0, 14, 2, 15))])
    evaluation = evaluation_of(both, unet=ALIKE)
    crack, pit = (type_of(evaluation, name).pixels for name in ("crack", "pit"))
    assert crack is not None
    assert pit is not None
    # Two pixels where nothing is labelled are wrong for whichever type one looks at.
    assert (crack.pooled.right, crack.pooled.wrong, crack.pooled.missed) == (16, 2, 0)
    assert (pit.pooled.right, pit.pooled.wrong, pit.pooled.missed) == (4, 2, 0)


def test_what_one_channel_marks_on_good_parts_is_in_no_types_dice_but_in_every_types_ranking() -> None:
    part = inspected(labelled(crack=[CRACK]), probabilities=[plane(CRACK, value=0.8)])
    noisy = inspected(labelled(), probabilities=[plane(NOWHERE, value=0.95)])
    quiet, loud = (type_of(evaluation_of(*parts, unet=ALIKE), "crack").pixels for parts in ((part,), (part, noisy)))
    assert quiet is not None
    assert loud is not None
    assert quiet.dice == loud.dice == 1
    assert quiet.average_precision == 1
    # Nine pixels of the good part rank above the sixteen of the crack.
    assert loud.average_precision == pytest.approx(16 / 25)


def test_defects_that_one_channel_marks_are_found_and_rightly_without_a_name() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), finding("defect", CRACK), probabilities=[plane(CRACK)]),
        inspected(labelled(), finding("defect", NOWHERE), probabilities=[plane(NOWHERE)]),
        unet=ALIKE,
        types=None,
    )
    assert [found.name for found in evaluation.types] == ["crack"]
    assert (evaluation.named_by, evaluation.names) == (None, ())
    assert type_of(evaluation, "crack").by_region.recall == 1
    assert called(evaluation) == {("crack", "defect"): 1, ("nothing", "defect"): 1}
    assert evaluation.confusion.right(0, evaluation.confusion.columns.index("defect"))
    assert evaluation.misses == ()


def test_defects_labelled_as_nothing_else_have_that_name() -> None:
    evaluation = evaluation_of(
        inspected(labelled(defect=[CRACK]), finding("defect", CRACK), probabilities=[plane(CRACK)]),
        inspected(labelled(), probabilities=[plane()]),
        unet=ALIKE,
        types=None,
    )
    defect = type_of(evaluation, "defect")
    assert (evaluation.named_by, defect.named, defect.by_image.precision) == ("U-Net", True, 1)
    assert defect.pixels is not None
    assert defect.pixels.dice == 1
    assert called(evaluation) == {("defect", "defect"): 1}


# Images


def test_an_image_is_called_a_type_by_a_finding_of_that_name() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), finding("crack", CRACK, 0.9), rejected=True),
        inspected(labelled(crack=[CRACK]), finding("pit", CRACK, 0.6), rejected=True),
        inspected(labelled(crack=[CRACK]), unsure=True),
        inspected(labelled(pit=[PIT]), finding("crack", PIT, 0.95), finding("pit", PIT, 0.7), rejected=True),
        inspected(labelled(), finding("crack", NOWHERE, 0.5)),
        inspected(labelled()),
    )
    crack, pit = type_of(evaluation, "crack"), type_of(evaluation, "pit")
    assert (crack.by_image.right, crack.by_image.wrong, crack.by_image.missed) == (1, 2, 2)
    assert crack.by_image.precision == pytest.approx(1 / 3)
    assert crack.by_image.recall == pytest.approx(1 / 3)
    assert crack.by_image.f1 == pytest.approx(1 / 3)
    # Ranked 0.95 (pit), 0.9 (crack), 0.5 (good), then two cracks among three images without a finding.
    assert crack.average_precision == pytest.approx((1 / 2 + 2 * 3 / 6) / 3)
    assert (pit.by_image.precision, pit.by_image.recall) == (0.5, 1)
    assert pit.average_precision == 1
    assert evaluation.mean_average_precision == pytest.approx((0.5 + 1) / 2)


def test_without_a_classifier_images_rank_by_the_highest_probability() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), probabilities=[plane(CRACK, value=0.4), plane()]),
        inspected(labelled(), probabilities=[plane(CRACK, value=0.2), plane()]),
        unet=UNET,
        types=None,
    )
    assert evaluation.named_by == "U-Net"
    crack = type_of(evaluation, "crack")
    assert crack.average_precision == 1
    assert (crack.by_image.recall, crack.by_image.precision) == (0, None)


def test_the_verdict_is_counted_whatever_the_defect_was_called() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), rejected=True),
        inspected(labelled(crack=[CRACK]), unsure=True),
        inspected(labelled(), rejected=True),
        inspected(labelled(), unsure=True),
        inspected(labelled(), finding("pit", NOWHERE)),
    )
    crack = type_of(evaluation, "crack")
    assert (crack.images, crack.rejected, crack.unsure, crack.rejected_share) == (2, 1, 1, 0.5)
    assert (evaluation.good, evaluation.false_rejects, evaluation.good_unsure) == (3, 1, 1)
    assert evaluation.good_with_findings == 1
    assert evaluation.false_reject_rate == pytest.approx(1 / 3)


def test_a_type_with_nine_images_is_marked_as_few() -> None:
    nine = [inspected(labelled(crack=[CRACK]))] * 9
    assert type_of(evaluation_of(*nine), "crack").few
    assert not type_of(evaluation_of(*nine, nine[0]), "crack").few


# Regions


def test_regions_are_found_named_and_confirmed() -> None:
    evaluation = evaluation_of(
        inspected(
            labelled(crack=[CRACK, (2, 6, 10, 8)], pit=[PIT]),
            finding("crack", CRACK),
            finding("pit", (2, 6, 10, 8)),
            finding("pit", (12, 0, 14, 2)),
        )
    )
    crack, pit = type_of(evaluation, "crack").by_region, type_of(evaluation, "pit").by_region
    assert (crack.labelled, crack.found, crack.named) == (2, 2, 1)
    assert (crack.findings, crack.confirmed) == (1, 1)
    assert (crack.recall, crack.found_share, crack.precision, crack.f1) == (0.5, 1, 1, pytest.approx(2 / 3))
    assert (pit.labelled, pit.found, pit.named, pit.findings, pit.confirmed) == (1, 0, 0, 2, 0)
    assert (pit.recall, pit.precision, pit.f1) == (0, 0, 0)


def test_a_defect_marked_in_parts_and_parts_marked_as_one_are_found() -> None:
    split = inspected(labelled(crack=[CRACK]), finding("crack", (2, 2, 4, 4)), finding("crack", (7, 2, 10, 4)))
    merged = inspected(labelled(pit=[(1, 1, 3, 3), (5, 1, 7, 3)]), finding("pit", (1, 1, 7, 3)))
    evaluation = evaluation_of(split, merged)
    crack, pit = type_of(evaluation, "crack").by_region, type_of(evaluation, "pit").by_region
    assert (crack.recall, crack.precision) == (pit.recall, pit.precision) == (1, 1)
    assert (crack.findings, pit.labelled) == (2, 2)


def test_a_finding_that_only_grazes_a_region_does_not_find_it() -> None:
    part = inspected(labelled(crack=[CRACK]), finding("crack", (8, 3, 14, 9)))
    crack = type_of(evaluation_of(part), "crack").by_region
    assert (crack.found, crack.confirmed) == (0, 0)
    assert called(evaluation_of(part)) == {("crack", "missed"): 1, ("nothing", "crack"): 1}


def test_the_matrix_has_a_place_for_every_region_and_every_false_alarm() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), finding("crack", CRACK)),
        inspected(labelled(crack=[CRACK]), finding("pit", CRACK)),
        inspected(labelled(crack=[CRACK]), finding("unknown", CRACK)),
        inspected(labelled(crack=[CRACK], pit=[PIT]), finding("anomaly", PIT, None)),
        inspected(labelled(), finding("pit", NOWHERE), finding("anomaly", PIT, None)),
    )
    assert evaluation.confusion.rows == ("crack", "pit", "nothing")
    assert evaluation.confusion.columns == ("crack", "pit", "unknown", "anomaly", "missed")
    assert evaluation.confusion.counts == ((1, 1, 1, 0, 1), (0, 0, 0, 1, 0), (0, 1, 0, 1, 0))


def test_a_region_has_its_right_name_if_any_finding_says_so_else_the_closest_ones() -> None:
    right = inspected(labelled(crack=[CRACK]), finding("pit", CRACK), finding("crack", (2, 2, 6, 4)))
    wrong = inspected(labelled(crack=[CRACK]), finding("unknown", (2, 2, 6, 4)), finding("pit", CRACK))
    assert called(evaluation_of(right)) == {("crack", "crack"): 1}
    assert called(evaluation_of(wrong)) == {("crack", "pit"): 1}


def test_the_area_error_is_the_median_over_images_of_what_was_found() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), finding("crack", CRACK, area_px=8)),
        inspected(labelled(crack=[CRACK]), finding("crack", (0, 0, 16, 4), area_px=32)),
        # Two parts of one region add up to it, and the region that was missed has no say.
        inspected(
            labelled(crack=[CRACK, (2, 8, 4, 10)]), finding("crack", (2, 2, 6, 4)), finding("crack", (6, 2, 10, 4))
        ),
        inspected(labelled(crack=[CRACK])),
    )
    area = type_of(evaluation, "crack").area
    assert area is not None
    assert (area.median, area.low, area.high, area.images) == (1, 0.75, 1.5, 3)


# What no model knows, and what nobody labelled


def test_a_type_that_no_model_knows_is_right_as_unknown_or_anomaly() -> None:
    evaluation = evaluation_of(
        inspected(labelled(fray=[CRACK]), finding("unknown", CRACK, 0.8), rejected=True),
        inspected(labelled(fray=[CRACK]), finding("anomaly", CRACK, None), rejected=True),
        inspected(labelled(fray=[CRACK]), finding("pit", CRACK)),
        inspected(labelled()),
        unet=UNET,
    )
    fray = type_of(evaluation, "fray")
    assert not fray.named
    assert fray.rejected_share == fray.by_image.recall == fray.by_region.recall == pytest.approx(2 / 3)
    assert fray.by_region.found_share == 1
    # Nobody can be wrong in calling something by a name that does not exist.
    assert fray.by_image.precision is fray.by_image.f1 is fray.by_region.precision is fray.average_precision is None
    assert fray.pixels is None
    row = evaluation.confusion.types.index("fray")
    assert [evaluation.confusion.right(row, column) for column in range(6)] == [False, False, False, True, True, False]
    assert [example.missed[0][1] for example in evaluation.misses] == ["pit"]


def test_a_known_type_that_never_occurs_has_false_alarms_but_no_recall() -> None:
    evaluation = evaluation_of(
        inspected(labelled(crack=[CRACK]), probabilities=[plane(CRACK), plane()]),
        inspected(labelled(), finding("pit", NOWHERE), probabilities=[plane(), plane(NOWHERE)]),
        unet=UNET,
    )
    pit = type_of(evaluation, "pit")
    assert (pit.images, pit.by_image.wrong, pit.by_image.precision, pit.by_image.recall) == (0, 1, 0, None)
    assert (pit.rejected_share, pit.average_precision, pit.anomaly_au_pro, pit.area) == (None, None, None, None)
    assert pit.pixels is not None
    assert (pit.pixels.pooled.wrong, pit.pixels.dice) == (9, 0)
    assert pit.pixels.mean_dice is pit.pixels.average_precision is pit.pixels.au_pro is None
    assert evaluation.mean_dice == 1


def test_nothing_found_has_no_precision_and_misses_everything() -> None:
    evaluation = evaluation_of(inspected(labelled(crack=[CRACK])), inspected(labelled()))
    crack = type_of(evaluation, "crack")
    assert (crack.by_image.precision, crack.by_image.recall, crack.by_image.f1) == (None, 0, 0)
    assert (crack.by_region.precision, crack.by_region.recall, crack.area) == (None, 0, None)
    assert crack.average_precision == 0.5
    assert called(evaluation) == {("crack", "missed"): 1}


def test_patchcore_alone_knows_no_name_and_has_no_pixels_of_a_type() -> None:
    evaluation = evaluation_of(inspected(labelled(crack=[CRACK]), finding("anomaly", CRACK, None)), types=None)
    crack = type_of(evaluation, "crack")
    assert evaluation.named_by is None
    assert (crack.named, crack.pixels, crack.by_region.recall) == (False, None, 1)
    assert evaluation.misses == ()


def test_no_image_at_all_is_no_figure_at_all() -> None:
    evaluation = evaluation_of(unet=UNET)
    assert (evaluation.images, evaluation.false_reject_rate, evaluation.mean_dice) == (0, None, None)
    assert evaluation.mean_average_precision is None


def test_labels_without_pixels_are_counted_and_left_out_of_regions_but_not_of_verdicts(tmp_path: Path) -> None:
    empty = tmp_path / "empty_mask.png"
    cv2.imwrite(str(empty), np.zeros((SIDE, SIDE), np.uint8))
    evaluation = evaluation_of(
        inspected(DefectImage(Path("a.png"), ("crack",), empty), finding("crack", CRACK), rejected=True),
        inspected(DefectImage(Path("b.png"), ("crack",)), finding("pit", CRACK), rejected=True),
        inspected(labelled(crack=[CRACK]), finding("crack", CRACK), rejected=True),
    )
    assert (evaluation.images, evaluation.measured) == (3, 1)
    assert (evaluation.empty_masks, evaluation.without_mask) == (1, 1)
    crack = type_of(evaluation, "crack")
    assert (crack.images, crack.rejected, crack.by_image.right, crack.by_region.labelled) == (3, 3, 2, 1)
    assert called(evaluation) == {("crack", "crack"): 1}


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    mask = tmp_path / "a_mask.png"
    cv2.imwrite(str(mask), np.full((8, 12), 255, np.uint8))
    with pytest.raises(DatasetError, match=r"a_mask\.png is 12 × 8 pixels and its image a\.png 16 × 16"):
        DefectTally().add(inspected(DefectImage(Path("a.png"), ("crack",), mask)))


# What is shown


def test_the_worst_miss_is_the_one_that_passed_and_was_not_found() -> None:
    evaluation = evaluation_of(
        inspected(labelled("rejected.png", crack=[CRACK]), rejected=True),
        inspected(labelled("misnamed.png", crack=[CRACK]), finding("pit", CRACK)),
        inspected(labelled("small.png", pit=[PIT])),
        inspected(labelled("large.png", crack=[CRACK])),
        inspected(labelled("right.png", crack=[CRACK]), finding("crack", CRACK), rejected=True),
    )
    shown = [example.image.path.stem for example in evaluation.misses]
    assert shown == ["large", "small", "misnamed", "rejected"]
    assert [[name for _, name in example.missed] for example in evaluation.misses] == [[None], [None], ["pit"], [None]]


def test_the_worst_false_alarm_costs_a_good_part_and_is_certain() -> None:
    evaluation = evaluation_of(
        inspected(labelled("certain.png"), finding("crack", NOWHERE, 0.99)),
        inspected(labelled("costly.png"), finding("anomaly", NOWHERE, None), rejected=True),
        inspected(labelled("beside.png", pit=[PIT]), finding("pit", PIT), finding("crack", NOWHERE), rejected=True),
        inspected(labelled("quiet.png")),
    )
    assert [example.image.path.stem for example in evaluation.false_alarms] == ["costly", "certain", "beside"]
    assert [alarm.type for alarm in evaluation.false_alarms[-1].alarms] == ["crack"]


def test_of_many_wrong_images_only_the_worst_are_kept() -> None:
    parts = [
        inspected(labelled(f"{number}.png", crack=[CRACK]), finding("pit", NOWHERE, number / 50))
        for number in range(40)
    ]
    evaluation = evaluation_of(*parts)
    assert len(evaluation.misses) == len(evaluation.false_alarms) == EXAMPLES
    assert evaluation.false_alarms[0].image.path.stem == "39"


def test_an_example_shows_where_any_class_is_above_its_threshold() -> None:
    planes = [plane(CRACK, value=0.4), plane(PIT, value=0.4)]
    part = inspected(labelled(crack=[CRACK]), probabilities=planes, thresholds=UNET.thresholds)
    (example,) = evaluation_of(part, unet=UNET).misses
    assert example.marked is not None
    assert example.probability is not None
    assert np.array_equal(example.marked, plane(PIT) > 0)
    assert np.array_equal(example.probability > 0.3, plane(PIT, CRACK) > 0)


# For people and programs


def mixed() -> DefectEvaluation:
    return evaluation_of(
        inspected(labelled(crack=[CRACK]), finding("crack", CRACK), probabilities=[plane(CRACK), plane()]),
        inspected(labelled(fray=[PIT]), probabilities=[plane(), plane()]),
        inspected(labelled(), finding("pit", NOWHERE), probabilities=[plane(), plane(NOWHERE)], rejected=True),
        unet=UNET,
    )


def test_the_figures_survive_json() -> None:
    figures = orjson.loads(orjson.dumps(mixed().as_dict()))
    by_name = {found["name"]: found for found in figures["types"]}
    assert by_name["crack"]["by_image"]["f1"] == by_name["crack"]["pixels"]["dice"] == 1
    assert by_name["crack"]["few"] is True
    assert by_name["fray"]["by_image"]["precision"] is None
    assert figures["confusion"]["labelled"][-1] == "nothing"
    assert figures["unet_thresholds"] == {"crack": 0.5, "pit": 0.3}
    assert figures["worst_misses"][0]["missed"][0]["called"] is None
    assert figures["worst_false_alarms"][0]["false_alarms"][0]["type"] == "pit"


def printed(evaluation: DefectEvaluation) -> str:
    console = Console(width=200, file=StringIO(), record=True)
    for table in _defect_tables(evaluation):
        console.print(table)
    return console.export_text()


def test_a_terminal_shows_every_type_and_what_is_undefined_as_a_dash() -> None:
    shown = printed(mixed())
    for said in ("crack (few)", "fray (few, no name for it)", "pit (few)", "good parts", "100.0%", "–", "nothing"):
        assert said in shown


def test_a_terminal_says_that_one_channel_stands_for_all_defects_and_whose_rules_decide() -> None:
    part = inspected(labelled(crack=[CRACK]), probabilities=[plane((2, 2, 6, 4))])
    shown = printed(evaluation_of(part, unet=ALIKE))
    assert "The U-Net has one channel for all defects" in shown
    assert "0.667" in shown
    assert "decided by the default rules" in shown
    assert "one channel" not in printed(mixed())


def test_a_type_named_like_markup_is_printed_as_it_is() -> None:
    assert "[red]x[/red]" in printed(evaluation_of(inspected(labelled(), finding("[red]x[/red]", NOWHERE))))


# Real labels


@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA names no folder of real images")
@pytest.mark.parametrize(("folder", "touching"), [("magnetic-tile", 0.0), ("deeppcb", 0.05)])
def test_real_labels_judged_by_themselves_are_perfect(folder: str, touching: float) -> None:
    images = defect_images(Path(os.environ["NEVERBLINK_DATA"]) / folder)[::15]
    unet = UnetSpec(classes=types_of(images))
    tally = DefectTally(unet)
    for image in images:
        height, width = read_image(image.path).shape[:2]
        planes = np.zeros((len(unet.classes), height, width), np.float32)
        for type_, mask in image.masks(height, width).items():
            planes[unet.classes.index(type_)] = mask
        anomaly = Anomaly(0.5, planes.max(axis=0))
        size = (width, height)
        drawn = planes > 0
        marked = mark(anomaly.anomaly_map, 1, anomalous=False, image_size=size, probabilities=planes, outlined=drawn)
        inspection = Inspection(anomaly, tuple(named(marked, unet, None)), planes, drawn)
        tally.add(
            InspectedImage(image, height, width, inspection, rejected=bool(marked), unsure=False, score_ratio=0.5)
        )
    evaluation = tally.evaluation()
    assert evaluation.measured > 10
    assert evaluation.mean_dice == 1
    # Where labels of two types touch, they are one region with one name.
    assert evaluation.mean_region_recall == pytest.approx(1, abs=touching)
    for found in evaluation.types:
        assert found.pixels is not None
        assert found.pixels.average_precision == found.by_region.precision == 1
        assert found.by_region.found_share == pytest.approx(1)
        assert found.area is not None
        assert found.area.median == pytest.approx(1)
