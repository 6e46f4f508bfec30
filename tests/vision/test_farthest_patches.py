"""A score is had without searching for every patch, and is the plain search's; a map is made when it is read."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.vision import patchcore
from neverblink.vision.map_on_demand import MapField, MapOnDemand
from neverblink.vision.neighbours import FarthestSearch, PrunedGemm, farthest, neighbour_table
from neverblink.vision.patchcore import PatchCore
from neverblink.vision.preprocess import Preprocess


def clumps(random: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Points in clumps of very different size, whose variance falls off as that of patches does."""
    middles = random.normal(0, 3, (9, dimension))
    return (middles[random.integers(0, 9, count)] + random.normal(0, 1, (count, dimension))) / np.arange(
        1, dimension + 1
    ) ** 0.7


BANKS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "clumps": lambda _, bank: bank,
    "copies": lambda random, bank: bank[random.integers(0, max(1, len(bank) // 20), len(bank))],
    "near copies": lambda random, bank: bank[random.integers(0, 3, len(bank)) % len(bank)] + 1e-4 * bank,
    "far from the origin": lambda _, bank: bank + 300,
    "one far outlier": lambda _, bank: np.concatenate([bank[:-1], 1e3 * bank[-1:]]),
    "equally far": lambda _, bank: bank / np.linalg.norm(bank, axis=1, keepdims=True),
}

IMAGES: dict[str, Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = {
    "like the bank": lambda _, patches, __: patches,
    "of the bank": lambda random, patches, bank: bank[random.integers(0, len(bank), len(patches))],
    "near the bank": lambda random, patches, bank: (
        bank[random.integers(0, len(bank), len(patches))] + 1e-3 * patches[random.permutation(len(patches))]
    ),
    "constant": lambda _, patches, __: np.repeat(patches[:1], len(patches), axis=0),
    "noise": lambda random, patches, _: random.normal(0, 2, patches.shape),
    "far": lambda random, patches, _: 1e4 * random.normal(0, 1, patches.shape),
    "the middle": lambda _, patches, bank: np.repeat(bank.mean(axis=0)[None], len(patches), axis=0),
    "one defect": lambda random, patches, _: (
        patches + 20 * (np.arange(len(patches)) == random.integers(0, len(patches)))[:, None]
    ),
}


def plainly(patches: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """(P, C) patches and (M, C) bank → (P, M) distances in float64, by definition."""
    return np.stack([np.linalg.norm(bank.astype(np.float64) - patch, axis=1) for patch in patches.astype(np.float64)])


@settings(deadline=None, max_examples=100)
@given(
    kind=st.sampled_from(sorted(BANKS)),
    shown=st.lists(st.sampled_from(sorted(IMAGES)), min_size=1, max_size=4),
    size=st.sampled_from([1, 2, 5, 40, 400, 900]),
    places=st.sampled_from([1, 3, 20, 90]),
    dimension=st.integers(1, 30),
    count=st.integers(1, 10),
    share=st.sampled_from([None, 0.0, 0.05, 0.6]),
    seed=st.integers(0, 999),
)
def test_the_farthest_patches_are_those_of_a_search_for_every_patch(
    kind: str, shown: list[str], size: int, places: int, dimension: int, count: int, share: float | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    bank = BANKS[kind](random, clumps(random, size, dimension)).astype(np.float32)
    images = np.stack([IMAGES[name](random, clumps(random, places, dimension), bank) for name in shown])
    images = images.astype(np.float32)
    judged = None if share is None else random.random((len(images), places)) < share
    found = FarthestSearch(torch.from_numpy(bank)).top(
        torch.from_numpy(images), count, None if judged is None else torch.from_numpy(judged)
    )
    for image, patches in enumerate(images):
        between = plainly(patches, bank)
        nearest = between.min(axis=1) if judged is None else np.where(judged[image], between.min(axis=1), 0)
        wanted = np.sort(nearest)[::-1][:count]
        np.testing.assert_allclose(found.distance[image].numpy(), wanted, rtol=1e-5, atol=0)
        for distance, patch, vector in zip(found.distance[image], found.patch[image], found.index[image], strict=True):
            if distance > 0 or judged is None:
                # The named vector is the nearest, and of copies the first.
                assert between[patch, vector] <= between[patch].min() * (1 + 1e-5)
                assert vector == np.flatnonzero((bank == bank[vector]).all(axis=1))[0]


@pytest.mark.parametrize("kind", ["copies", "near copies", "equally far"])
def test_crowds_that_float32_cannot_tell_apart_are_told_apart(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    bank = BANKS[kind](random, clumps(random, 3000, 24)).astype(np.float32)
    image = np.concatenate([bank[:40] * 1.0001, clumps(random, 60, 24)]).astype(np.float32)
    monkeypatch.setattr(farthest, "_CROWDED", 2)
    found = FarthestSearch(torch.from_numpy(bank)).top(torch.from_numpy(image)[None], 10)
    np.testing.assert_allclose(
        found.distance[0].numpy(), np.sort(plainly(image, bank).min(axis=1))[::-1][:10], rtol=1e-5
    )


@pytest.mark.parametrize("kind", sorted(BANKS))
@pytest.mark.parametrize("name", sorted(IMAGES))
def test_a_pruned_search_of_many_patches_changes_no_answer(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(5)
    bank = BANKS[kind](random, clumps(random, 700, 20)).astype(np.float32)
    image = IMAGES[name](random, clumps(random, 200, 20), bank).astype(np.float32)
    monkeypatch.setattr(farthest, "_MANY", 0)
    monkeypatch.setattr(farthest, "_OF_MANY", 0)
    vectors = torch.from_numpy(bank)
    found = FarthestSearch(vectors, PrunedGemm(vectors)).top(torch.from_numpy(image)[None], 5)
    between = plainly(image, bank)
    np.testing.assert_allclose(found.distance[0].numpy(), np.sort(between.min(axis=1))[::-1][:5], rtol=1e-5)
    for patch, vector in zip(found.patch[0], found.index[0], strict=True):
        assert between[patch, vector] <= between[patch].min() * (1 + 1e-5)
        assert vector == np.flatnonzero((bank == bank[vector]).all(axis=1))[0]


def test_few_patches_of_a_large_bank_are_searched_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    bank, image = (torch.from_numpy(clumps(random, count, 48).astype(np.float32)) for count in (6000, 1024))
    search = FarthestSearch(bank)
    searched: list[int] = []
    real = search._measure
    monkeypatch.setattr(search, "_measure", lambda bounds, rows: searched.append(len(rows)) or real(bounds, rows))
    search.top(image[None], 1)
    assert sum(searched) < 1024 / 4
    # One part of the image that is like nothing settles it at once.
    image[77] += 10
    searched.clear()
    assert search.top(image[None], 1).patch.tolist() == [[77]]
    assert sum(searched) <= 16


# What a score is made of: top k, eq. 7, regions


@pytest.fixture
def sparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small banks are searched as large ones are."""
    monkeypatch.setattr(patchcore, "_LARGE_BANK", 1)
    monkeypatch.setattr(patchcore, "_MANY_PATCHES", 1)


def model(random: np.random.Generator, *, top: int, eq7: bool, region: float | None, tiles: int = 1) -> PatchCore:
    bank = torch.from_numpy(clumps(random, 500, 20).astype(np.float32))
    inside = None if region is None else random.random((tiles, 8, 6)) < region
    return PatchCore(
        bank,
        neighbours=neighbour_table(bank, 5) if eq7 else None,
        region=inside,
        preprocess=Preprocess(resize=48),
        top=top,
    )


def features(random: np.random.Generator, count: int) -> torch.Tensor:
    return torch.from_numpy(clumps(random, count * 48, 20).astype(np.float32)).view(count, 8, 6, 20)


@pytest.mark.usefixtures("sparing")
@pytest.mark.parametrize("top", [1, 3, 10, 60])
@pytest.mark.parametrize("eq7", [False, True])
@pytest.mark.parametrize("region", [None, 0.0, 0.08, 0.7])
def test_a_score_is_the_same_with_and_without_its_map(top: int, eq7: bool, region: float | None) -> None:
    random = np.random.default_rng(top)
    scorer = model(random, top=top, eq7=eq7, region=region, tiles=2)
    shown = features(random, 6)
    plain = scorer.score(shown, complete=True)
    alone = [scorer.score(pair)[place] for pair in shown.split(2) for place in (0, 1)]
    for found, wanted, one in zip(scorer.score(shown), plain, alone, strict=True):
        assert MapField.made(found) is None
        assert found.score == pytest.approx(wanted.score, rel=1e-5)
        assert one.score == pytest.approx(wanted.score, rel=1e-5)
        np.testing.assert_allclose(found.anomaly_map, wanted.anomaly_map, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(one.anomaly_map, wanted.anomaly_map, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("sparing")
@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("eq7", [False, True])
@pytest.mark.parametrize("region", [None, 0.1])
def test_tiles_that_cannot_decide_are_left_out_and_the_highest_is_exact(
    top: int, eq7: bool, region: float | None
) -> None:
    for seed in range(4):
        random = np.random.default_rng(seed)
        scorer = model(random, top=top, eq7=eq7, region=region, tiles=4)
        # Two images of four tiles each, of which one tile of one image is conspicuous.
        shown = features(random, 8)
        shown[5] *= 1 + seed
        found, plain = scorer.score(shown, tiles=[4, 4]), scorer.score(shown, complete=True)
        for own in (slice(0, 4), slice(4, 8)):
            highest = max(one.score for one in plain[own])
            assert max(one.score for one in found[own]) == pytest.approx(highest, rel=1e-5)
            for one, wanted in zip(found[own], plain[own], strict=True):
                assert one.score == pytest.approx(wanted.score, rel=1e-5) or one.score == -np.inf
                np.testing.assert_allclose(one.anomaly_map, wanted.anomaly_map, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("sparing")
def test_few_tiles_of_a_large_image_are_searched_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scorer, shown = model(random, top=1, eq7=False, region=None), features(random, 24)
    searched: list[int] = []
    real = FarthestSearch._measure
    monkeypatch.setattr(
        FarthestSearch,
        "_measure",
        lambda self, bounds, rows: searched.append(len(rows)) or real(self, bounds, rows),
    )
    scorer.score(shown)
    alone = sum(searched)
    searched.clear()
    scorer.score(shown, tiles=[24])
    assert sum(searched) < alone / 4


@pytest.mark.usefixtures("sparing")
def test_a_map_is_of_the_image_that_was_scored_whatever_became_of_its_features() -> None:
    random = np.random.default_rng(1)
    scorer, shown = model(random, top=1, eq7=False, region=None), features(random, 3)
    wanted = [one.anomaly_map for one in scorer.score(shown.clone(), complete=True)]
    found = scorer.score(shown)
    shown.fill_(7)
    for one, other in zip(found, wanted, strict=True):
        assert one.fault is None
        assert MapField.made(one) is None
        np.testing.assert_allclose(one.anomaly_map, other, rtol=1e-5)
        assert one.anomaly_map is one.anomaly_map


def test_a_map_is_made_once_for_all_threads_and_lets_go_of_what_it_is_made_of() -> None:
    made: list[int] = []
    begin = threading.Barrier(4, timeout=20)

    class Source:
        def make(self) -> np.ndarray:
            made.append(1)
            return np.ones((2, 2), np.float32)

    source = Source()
    kept = MapOnDemand(source.make)

    def read(_: int) -> np.ndarray:
        begin.wait()
        return kept.get()

    with ThreadPoolExecutor(4) as threads:
        maps = list(threads.map(read, range(4)))
    assert made == [1]
    assert all(one is maps[0] for one in maps)
    assert kept._make is None


def test_a_map_that_could_not_be_made_is_tried_again() -> None:
    tries: list[int] = []

    def make() -> np.ndarray:
        tries.append(1)
        if len(tries) == 1:
            raise MemoryError
        return np.zeros((1, 1), np.float32)

    kept = MapOnDemand(make)
    with pytest.raises(MemoryError):
        kept.get()
    assert kept.get().shape == (1, 1)
