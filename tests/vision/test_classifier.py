"""Names of regions: right for what is known, and a promise on what is called unknown."""

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load, save
from scipy.stats import binom

from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.teaching.train_classifier import ClassifierSettings, Regions, TrainedClassifier, fit_regions
from neverblink.vision.classifier import Classifier, Familiar, Name
from neverblink.vision.classifier_spec import ClassifierSpec, images_needed
from neverblink.vision.errors import VisionError

WIDTH = 12
TYPES = ("crack", "dent", "stain")


def drawn(count: int, seed: int, *, apart: float = 12, each: int = 1) -> Regions:
    """Draw `count` images a type, `each` regions in every one, those of an image alike; types are balls `apart`."""
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(TYPES)), count)
    images = apart * np.eye(WIDTH)[kinds] + random.normal(size=(len(kinds), WIDTH))
    rows = np.repeat(images, each, axis=0) + 0.3 * random.normal(size=(len(kinds) * each, WIDTH))
    return Regions(
        rows.astype(np.float32),
        np.array(TYPES)[kinds].repeat(each),
        np.arange(len(kinds)).repeat(each),
        np.full(len(rows), "drawn"),
    )


@pytest.fixture(scope="module")
def trained() -> TrainedClassifier:
    return fit_regions(drawn(20, 0), ClassifierSettings())


def test_regions_of_known_types_get_their_names(trained: TrainedClassifier) -> None:
    fresh = drawn(50, 1)
    names = trained.classifier.name(fresh.descriptors)
    given = [(name.type, kind) for name, kind in zip(names, fresh.type, strict=True) if name.type is not None]
    assert all(name == kind for name, kind in given)
    assert len(given) >= 0.85 * len(names)
    assert all(0 <= name.confidence <= 1 and 0 < name.known <= 1 for name in names)


def test_what_is_far_from_everything_known_is_unknown(trained: TrainedClassifier) -> None:
    far = 12 * np.eye(WIDTH, dtype=np.float32)[5:8]
    for name in trained.classifier.name(far):
        assert name.type is None
        assert name.known == pytest.approx(1 / 61)
    novelty = trained.classifier.novelty(np.concatenate([drawn(1, 3).descriptors, far]))
    assert novelty[:3].max() < novelty[3:].min()


@pytest.mark.parametrize("each", [1, 3])
def test_the_share_of_known_regions_called_unknown_keeps_its_promise(each: int) -> None:
    rounds, asked = 60, 0.1
    called, images = 0, 0
    for seed in range(rounds):
        classifier = fit_regions(
            drawn(10, seed, each=each), ClassifierSettings(unknown_rate=asked, seed=seed)
        ).classifier
        fresh = drawn(10, 1000 + seed, each=each)
        called += sum(name.type is None for name in classifier.name(fresh.descriptors[::each]))
        images += 30
    # Names of one classifier go up and down together: a third of the images counts as independent.
    assert called / images <= binom.ppf(0.999, images // 3, asked) / (images // 3)
    assert called > 0, "a promise that is kept by never saying unknown is worth nothing"


def test_confidence_is_how_often_a_name_is_right() -> None:
    classifier = fit_regions(drawn(40, 0, apart=2), ClassifierSettings()).classifier
    fresh = drawn(700, 1, apart=2)
    names = classifier.name(fresh.descriptors)
    sure = np.array([name.confidence for name in names])
    right = np.array([name.type == kind for name, kind in zip(names, fresh.type, strict=True)])
    told = np.array([name.type is not None for name in names])
    assert 0.6 < right[told].mean() < 0.95
    assert sure[told].mean() == pytest.approx(right[told].mean(), abs=0.06)
    upper = told & (sure > np.median(sure[told]))
    assert sure[upper].mean() == pytest.approx(right[upper].mean(), abs=0.06)


def test_a_type_that_is_not_certain_enough_is_unknown() -> None:
    doubtful = fit_regions(drawn(20, 0, apart=2), ClassifierSettings(min_confidence=0.9)).classifier
    between = drawn(60, 1, apart=2).descriptors
    assert all(name.type is None for name in doubtful.name(between) if name.confidence < 0.9)
    assert any(name.type is not None for name in doubtful.name(between))
    assert "less certain than 0.9" in doubtful.spec.statement()


def test_the_tensors_bring_back_the_same_answers_to_the_bit(trained: TrainedClassifier) -> None:
    before = trained.classifier
    written = load(save(before.tensors()))
    spec = ClassifierSpec.model_validate_json(before.spec.model_dump_json())
    after = Classifier.from_tensors(spec, written)
    assert all(np.array_equal(written[name], tensor) for name, tensor in before.tensors().items())
    fresh = drawn(20, 7).descriptors
    assert after.name(fresh) == before.name(fresh)


def test_a_name_does_not_depend_on_company(trained: TrainedClassifier) -> None:
    fresh = drawn(11, 8, apart=3).descriptors
    together = trained.classifier.name(fresh)
    assert together == [name for row in fresh for name in trained.classifier.name(row[None])]
    assert trained.classifier.name(fresh[:0]) == []


def test_a_region_that_was_not_seen_is_unknown(trained: TrainedClassifier) -> None:
    unseen = np.full((1, WIDTH), np.nan, dtype=np.float32)
    assert trained.classifier.name(unseen) == [Name(None, 0.0, 0.0)]
    assert trained.classifier.novelty(unseen)[0] == np.inf


def test_descriptors_of_another_width_are_refused(trained: TrainedClassifier) -> None:
    with pytest.raises(VisionError, match="by 12 numbers each, not by an array of \\(2, 13\\)"):
        trained.classifier.name(np.zeros((2, 13), dtype=np.float32))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("means"), "has the tensors"),
        (lambda t: t.update(more=t["means"]), "has the tensors"),
        (lambda t: t.update(means=t["means"][:2]), "means must be \\(3, 12\\) float32"),
        (lambda t: t.update(centre=t["centre"].astype(np.float64)), "centre must be \\(12,\\) float32"),
        (lambda t: t["whitening"].__setitem__((0, 0), np.nan), "whitening has values that are no numbers"),
        (lambda t: t.update(distances=t["distances"][::-1]), "must ascend"),
        (lambda t: t["weights"].__setitem__(0, 0), "above zero"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(trained: TrainedClassifier, change: object, said: str) -> None:
    tensors = {name: tensor.copy() for name, tensor in trained.classifier.tensors().items()}
    change(tensors)  # type: ignore[operator]
    with pytest.raises(VisionError, match=said):
        Classifier.from_tensors(trained.classifier.spec, tensors)


def test_many_regions_of_one_image_weigh_as_much_as_one() -> None:
    crowded = Familiar(np.array([1, 2, 2, 2, 2], np.float32), np.array([1, 0.25, 0.25, 0.25, 0.25], np.float32))
    assert crowded.share(2) == pytest.approx(2 / 3)
    assert crowded.share(3) == pytest.approx(1 / 3)
    assert crowded.share(0) == 1


def test_a_rate_names_the_images_that_it_needs() -> None:
    assert [images_needed(rate) for rate in (0.1, 0.05, 0.01)] == [9, 19, 99]
    few = drawn(4, 0)
    with pytest.raises(DatasetError, match=r"12 images cannot promise .* 5 % .* 19 are needed"):
        fit_regions(few, ClassifierSettings(unknown_rate=0.05))
    spec = fit_regions(few, ClassifierSettings()).classifier.spec
    assert spec.unknown_rate == pytest.approx(1 / 13)
    assert spec.statement() == (
        "on average at most 7.69 % of an image's regions of known types are called unknown, from 12 images;"
        " 19 images would promise 5 %"
    )
    with pytest.raises(ValidationError, match="99 are needed"):
        ClassifierSpec.model_validate({**spec.model_dump(), "unknown_rate": 0.01})


def test_one_type_alone_is_known_from_all_others() -> None:
    every = drawn(30, 0)
    only = every.chosen(every.type == "dent")
    classifier = fit_regions(only, ClassifierSettings()).classifier
    names = [name.type for name in classifier.name(drawn(30, 1).descriptors)]
    assert names[:30] == [None] * 30
    assert names[30:60].count("dent") >= 25
    assert names[60:] == [None] * 30


def test_a_number_that_never_changes_does_no_harm() -> None:
    regions = drawn(20, 0)
    flat = dataclasses.replace(regions, descriptors=np.pad(regions.descriptors, ((0, 0), (0, 2))))
    names = fit_regions(flat, ClassifierSettings()).classifier.name(np.pad(drawn(20, 1).descriptors, ((0, 0), (0, 2))))
    assert sum(name.type is not None for name in names) >= 50
