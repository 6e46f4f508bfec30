"""The loss is what the papers say, teaches only what is labelled, and stays finite."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from neverblink.vision.errors import VisionError
from neverblink.vision.losses import LossSettings, segmentation_loss

BCE = LossSettings(bce=1, dice=0)
DICE = LossSettings(bce=0, dice=1)


def logits_of(*probabilities: float) -> Tensor:
    """Logits (1, 1, 1, n) whose sigmoids are these."""
    return torch.logit(torch.tensor(probabilities, dtype=torch.float64)).float().view(1, 1, 1, -1)


def target_of(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_cross_entropy_is_the_mean_over_pixels() -> None:
    loss = segmentation_loss(logits_of(0.8, 0.25), target_of(1, 0), BCE)
    assert float(loss) == pytest.approx(-(math.log(0.8) + math.log(0.75)) / 2, rel=1e-5)


def test_a_focal_loss_leaves_out_what_is_already_right() -> None:
    # FL = −(1 − p_t)² log p_t with p_t of 0.8 and 0.75.
    focal = LossSettings(bce=1, dice=0, focal_gamma=2)
    loss = segmentation_loss(logits_of(0.8, 0.25), target_of(1, 0), focal)
    assert float(loss) == pytest.approx(-(0.2**2 * math.log(0.8) + 0.25**2 * math.log(0.75)) / 2, rel=1e-5)


def test_dice_is_one_minus_twice_the_overlap_over_the_sum() -> None:
    # Overlap 0.8, sums 0.8 + 0.5 + 0.1 and 1.
    loss = segmentation_loss(logits_of(0.8, 0.5, 0.1), target_of(1, 0, 0), LossSettings(bce=0, dice=1, smooth=0.5))
    assert float(loss) == pytest.approx(1 - (2 * 0.8 + 0.5) / (1.4 + 1 + 0.5), rel=1e-5)


def test_dice_is_the_mean_over_images_that_show_the_class() -> None:
    logits = torch.cat([logits_of(0.9, 0.2), logits_of(0.6, 0.7), logits_of(0.3, 0.1)])
    target = torch.cat([target_of(1, 0), target_of(1, 1), target_of(0, 0)])
    # Overlaps 0.9 and 1.3, sums 2.1 and 3.3; the third image has no defect and no say.
    expected = ((1 - 2.8 / 3.1) + (1 - 3.6 / 4.3)) / 2
    assert float(segmentation_loss(logits, target, DICE)) == pytest.approx(expected, rel=1e-5)


def test_a_missed_speck_costs_as_much_as_a_missed_stain() -> None:
    target = torch.zeros((2, 1, 32, 32))
    target[0, 0, :24], target[1, 0, 4, 4] = 1, 1
    found = torch.where(target > 0, 9.0, -9.0)
    costs = []
    for missed in range(2):
        logits = found.clone()
        logits[missed] = -9
        costs.append(float(segmentation_loss(logits, target, LossSettings(bce=0, dice=1, smooth=0.01))))
    assert costs[0] == pytest.approx(costs[1], rel=0.1)


def test_both_parts_add_up_by_their_weights() -> None:
    logits, target = logits_of(0.8, 0.5, 0.1), target_of(1, 0, 0)
    parts = [float(segmentation_loss(logits, target, settings)) for settings in (BCE, DICE)]
    both = segmentation_loss(logits, target, LossSettings(bce=0.3, dice=2))
    assert float(both) == pytest.approx(0.3 * parts[0] + 2 * parts[1], rel=1e-5)


def test_class_weights_average_the_classes() -> None:
    logits = torch.cat([logits_of(0.8), logits_of(0.4)], dim=1)
    target = torch.cat([target_of(1), target_of(1)], dim=1)
    loss = segmentation_loss(logits, target, LossSettings(bce=1, dice=0, class_weights=(3, 1)))
    assert float(loss) == pytest.approx(-(3 * math.log(0.8) + math.log(0.4)) / 4, rel=1e-5)


@pytest.mark.parametrize("gamma", [0, 2])
def test_what_is_not_labelled_does_not_teach(gamma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((3, 2, 4, 4), generator=generator).requires_grad_()
    target = (torch.rand((3, 2, 4, 4), generator=generator) < 0.3).float()
    known = torch.tensor([[True, True], [False, True], [True, False]])
    settings = LossSettings(focal_gamma=gamma)
    loss = segmentation_loss(logits, target, settings, known)
    other = torch.where(known[:, :, None, None], target, 1 - target)
    assert torch.equal(segmentation_loss(logits, other, settings, known), loss)
    loss.backward()
    assert logits.grad is not None
    taught = logits.grad.abs().sum(dim=(2, 3)) > 0
    assert torch.equal(taught, known)


def test_an_unlabelled_image_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn((2, 1, 4, 4), generator=generator), torch.zeros((2, 1, 4, 4))
    with_it = segmentation_loss(logits, target, LossSettings(), torch.tensor([[True], [False]]))
    assert float(with_it) == pytest.approx(float(segmentation_loss(logits[:1], target[:1], LossSettings())))


def test_a_class_that_nobody_labelled_has_no_part_in_the_average() -> None:
    logits = torch.cat([logits_of(0.8, 0.3), logits_of(0.4, 0.6)], dim=1)
    target = torch.cat([target_of(1, 0), target_of(1, 0)], dim=1)
    known = torch.tensor([[True, False]])
    alone = segmentation_loss(logits[:, :1], target[:, :1], LossSettings())
    assert float(segmentation_loss(logits, target, LossSettings(), known)) == pytest.approx(float(alone))


def test_a_batch_without_any_label_costs_nothing_and_moves_nothing() -> None:
    logits = torch.randn((2, 2, 4, 4), generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = segmentation_loss(logits, torch.ones((2, 2, 4, 4)), LossSettings(), torch.zeros((2, 2), dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_an_empty_mask_costs_little_when_nothing_is_found_and_much_when_all_is() -> None:
    target = torch.zeros((1, 1, 8, 8))
    for settings in (LossSettings(), BCE, LossSettings(focal_gamma=2)):
        nothing, all_of_it = (segmentation_loss(torch.full_like(target, x), target, settings) for x in (-12.0, 12.0))
        assert 0 <= float(nothing) < 1e-3
        assert float(all_of_it) > 0.4


@given(
    st.lists(st.tuples(st.floats(-200, 200), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]),
)
def test_loss_and_gradient_are_finite_however_sure_the_network_is(
    pixels: list[tuple[float, bool]], gamma: float
) -> None:
    logits = torch.tensor([[[[logit for logit, _ in pixels]]]], requires_grad=True)
    target = torch.tensor([[[[float(hit) for _, hit in pixels]]]])
    loss = segmentation_loss(logits, target, LossSettings(focal_gamma=gamma))
    loss.backward()
    assert logits.grad is not None
    assert math.isfinite(float(loss.detach()))
    assert bool(logits.grad.isfinite().all())
    assert float(loss.detach()) >= 0


def test_half_precision_logits_do_not_overflow() -> None:
    logits = torch.full((4, 1, 256, 256), 3.0, dtype=torch.float16)
    loss = segmentation_loss(logits, torch.ones((4, 1, 256, 256)), LossSettings())
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0.5 * math.log(1 + math.exp(-3)) + 0.5 * 0.0243, abs=1e-3)


def test_what_does_not_fit_is_refused() -> None:
    logits = torch.zeros((2, 3, 4, 4))
    with pytest.raises(VisionError, match=r"target of \(2, 1, 4, 4\) does not fit"):
        segmentation_loss(logits, torch.zeros((2, 1, 4, 4)), LossSettings())
    with pytest.raises(VisionError, match=r"2 images and 3 classes, not for \(2,\)"):
        segmentation_loss(logits, logits, LossSettings(), torch.ones(2, dtype=torch.bool))
    with pytest.raises(VisionError, match="2 class weights do not fit 3 classes"):
        segmentation_loss(logits, logits, LossSettings(class_weights=(1, 2)))


@pytest.mark.parametrize("wrong", [{"bce": 0, "dice": 0}, {"class_weights": (1, -1)}, {"class_weights": (0, 0)}])
def test_settings_that_teach_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LossSettings.model_validate(wrong)
