"""The coreset is the greedy one, and the neighbours are the nearest: tricks change the time, not the answer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.neighbours import (
    ApproximateIndex,
    AugmentedGemm,
    FaissFlat,
    HalfPrecisionGemm,
    NeighbourIndex,
    PrunedGemm,
    choice,
    half_precision,
    neighbour_index,
    neighbour_table,
)

EXACT = (AugmentedGemm, FaissFlat, PrunedGemm, HalfPrecisionGemm)


def cloud(count: int, dimension: int, seed: int = 0) -> torch.Tensor:
    """Points in clumps of very different size, as patches of an image are."""
    random = np.random.default_rng(seed)
    clumps = random.normal(0, 3, (12, dimension))
    chosen = clumps[random.integers(0, 12, count)]
    return torch.from_numpy((chosen + random.normal(0, 1, chosen.shape)).astype(np.float32))


def low_dimensional(count: int, dimension: int, seed: int) -> torch.Tensor:
    """Points whose variance falls off as that of patches does: what pruning lives on."""
    return cloud(count, dimension, seed) * torch.arange(1, dimension + 1).pow(-1.0)


# The pools hold 512 and 4,096: below nothing is lazy, above they are refilled many times.
@pytest.mark.parametrize(("count", "wanted"), [(500, 60), (4096, 100), (9000, 400), (9000, 1200)])
def test_the_lazy_choice_is_the_greedy_choice(count: int, wanted: int) -> None:
    points = cloud(count, 16)
    found = greedy_k_center(points, wanted, seed=4).tolist()
    assert len(set(found)) == wanted
    exact = points.double().numpy()
    nearest = np.linalg.norm(exact - exact[found[0]], axis=1)
    for selected in found[1:]:
        # Two that are equally far within rounding may change places.
        assert nearest[selected] >= nearest.max() * (1 - 1e-5)
        nearest = np.minimum(nearest, np.linalg.norm(exact - exact[selected], axis=1))


def test_the_same_seed_selects_the_same_and_another_starts_elsewhere() -> None:
    points = cloud(5000, 8)
    assert torch.equal(greedy_k_center(points, 50, seed=1), greedy_k_center(points, 50, seed=1))
    assert greedy_k_center(points, 50, seed=1)[0] != greedy_k_center(points, 50, seed=2)[0]


@pytest.mark.parametrize("count", [400, 9000])
def test_several_starts_begin_at_their_mean_distance_as_the_official_code_does(count: int) -> None:
    points = cloud(count, 16)
    found = greedy_k_center(points, 150, seed=3, starts=10).tolist()
    exact = points.double().numpy()
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(3))[:10].numpy()
    nearest = np.linalg.norm(exact[:, None] - exact[drawn], axis=2).mean(axis=1)
    for selected in found:
        assert nearest[selected] >= nearest.max() * (1 - 1e-5)
        nearest = np.minimum(nearest, np.linalg.norm(exact - exact[selected], axis=1))


def test_duplicates_are_never_selected_twice() -> None:
    distinct = cloud(30, 6)
    found = greedy_k_center(distinct.repeat(200, 1), 100, seed=0)
    assert sorted((found % 30).tolist()) == list(range(30))


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 300), wanted=st.integers(1, 400), seed=st.integers(0, 9))
def test_every_point_is_within_reach_of_the_selected(count: int, wanted: int, seed: int) -> None:
    points = cloud(count, 5, seed)
    found = greedy_k_center(points, wanted, seed=seed)
    assert len(set(found.tolist())) == len(found) <= min(count, wanted)
    # Greedy's guarantee: nothing lies farther away than the last one that was worth selecting.
    between = torch.cdist(points.double(), points[found].double())
    if len(found) > 1:
        last = between[found[-1], :-1].min()
        assert between.min(dim=1).values.max() <= last * (1 + 1e-5)


def test_progress_ends_at_the_count() -> None:
    seen: list[tuple[int, int]] = []
    greedy_k_center(cloud(6000, 8), 300, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (300, 300)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_projection_keeps_distances_and_leaves_narrow_vectors_alone() -> None:
    wide = torch.randn(200, 1024, generator=torch.Generator().manual_seed(0))
    ratio = torch.pdist(project(wide, 128, seed=0)) / torch.pdist(wide)
    assert 0.9 < ratio.mean() < 1.1
    assert 0.6 < ratio.min() < ratio.max() < 1.4
    narrow = cloud(10, 152)
    assert project(narrow, 128, seed=0) is narrow


@settings(deadline=None, max_examples=40)
@given(
    bank=st.integers(1, 3000),
    queries=st.integers(1, 100),
    dimension=st.integers(1, 40),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_every_exact_search_finds_the_nearest(
    bank: int, queries: int, dimension: int, offset: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = torch.from_numpy((random.normal(size=(bank, dimension)) + offset).astype(np.float32))
    asked = torch.from_numpy((random.normal(size=(queries, dimension)) + offset).astype(np.float32))
    true = torch.cdist(asked.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    for index in (kind(vectors) for kind in EXACT):
        found = index.nearest(asked)
        # Vectors nearer to each other than the root of float32's rounding may be taken for one another.
        torch.testing.assert_close(found.distance.double(), true, rtol=1e-4, atol=1e-3 * max(1, offset / 100))
        torch.testing.assert_close((asked - vectors[found.index]).norm(dim=1), found.distance, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(index.distances(asked), found.distance, rtol=1e-4, atol=1e-6)


def test_the_exact_searches_agree_on_a_bank_of_real_size() -> None:
    vectors, asked = low_dimensional(8000, 152, 1), low_dimensional(1024, 152, 2)
    faiss = FaissFlat(vectors).nearest(asked).distance
    for index in (kind(vectors) for kind in EXACT):
        torch.testing.assert_close(index.nearest(asked).distance, faiss, rtol=1e-4, atol=0)
        torch.testing.assert_close(index.distances(asked), faiss, rtol=1e-4, atol=0)


def test_pruning_computes_few_exact_distances_and_finds_the_same_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = low_dimensional(6000, 96, 1), low_dimensional(300, 96, 2)
    counted: list[int] = []
    real = PrunedGemm._squared_distance
    monkeypatch.setattr(
        PrunedGemm,
        "_squared_distance",
        lambda self, queries, index: counted.append(len(index)) or real(self, queries, index),
    )
    found = PrunedGemm(vectors).nearest(asked)
    true = torch.cdist(asked.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    torch.testing.assert_close(found.distance.double(), true, rtol=1e-5, atol=0)
    assert sum(counted) < 0.05 * 6000 * 300


def with_far_outliers(vectors: torch.Tensor) -> torch.Tensor:
    return torch.cat([vectors, 1e4 * vectors[:3]])


NASTY = {
    "clumps": lambda vectors: vectors,
    "duplicates": lambda vectors: vectors[:40].repeat(50, 1),
    "nearly duplicates": lambda vectors: vectors[:40].repeat(50, 1) + 1e-3 * vectors,
    "one vector": lambda vectors: vectors[:1],
    "all the same": lambda vectors: vectors[:1].repeat(130, 1),
    "far outliers": with_far_outliers,
    "huge": lambda vectors: vectors * 1e12,
    "tiny": lambda vectors: vectors * 1e-12,
    "far from the origin": lambda vectors: vectors + 500,
    "on one line": lambda vectors: vectors[:, :1] * torch.ones(96),
}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("near", [True, False])
def test_half_precision_hides_no_neighbour(name: str, near: bool) -> None:
    vectors = NASTY[name](cloud(2000, 96, 1)).float()
    scale = vectors.abs().mean()
    asked = (
        (vectors[torch.arange(300) % len(vectors)] + 0.01 * scale * cloud(300, 96, 2))
        if near
        else (scale * cloud(300, 96, 3))
    )
    found = HalfPrecisionGemm(vectors).nearest(asked)
    every = torch.cdist(asked.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(found.distance.double(), every.amin(dim=1), rtol=1e-5, atol=float(1e-6 * scale))
    measured = every.gather(1, found.index.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(measured, every.amin(dim=1), rtol=1e-5, atol=float(1e-6 * scale))


def test_half_precision_measures_few_vectors_where_rounding_hides_few(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = low_dimensional(6000, 96, 1), low_dimensional(300, 96, 2)
    counted: list[int] = []
    real = half_precision.true_distance
    monkeypatch.setattr(
        half_precision,
        "true_distance",
        lambda queries, bank, index: counted.append(len(index)) or real(queries, bank, index),
    )
    found = HalfPrecisionGemm(vectors).nearest(asked)
    true = torch.cdist(asked.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    torch.testing.assert_close(found.distance.double(), true, rtol=1e-5, atol=0)
    assert 300 <= sum(counted) < 3 * 300


def test_half_precision_leaves_to_float32_what_it_cannot_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = cloud(1, 96) + 1e-3 * cloud(4000, 96, 1)
    index = HalfPrecisionGemm(vectors)
    called: list[int] = []
    real = index._full.nearest
    monkeypatch.setattr(index._full, "nearest", lambda queries: called.append(len(queries)) or real(queries))
    found = index.nearest(cloud(100, 96, 2))
    assert called == [100]
    torch.testing.assert_close(
        found.distance, FaissFlat(vectors).nearest(cloud(100, 96, 2)).distance, rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("fast", [True, False])
def test_half_precision_is_tried_only_where_it_multiplies_faster(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_multiplies_halves_faster", lambda: fast)
    tried: list[type[NeighbourIndex]] = []
    monkeypatch.setattr(choice, "_seconds", lambda index, _: tried.append(type(index)) or 1.0)
    neighbour_index(cloud(900, 24, 1))
    assert (HalfPrecisionGemm in tried) is fast


@pytest.mark.parametrize("kind", EXACT)
def test_a_distance_does_not_depend_on_its_company(kind: type[NeighbourIndex]) -> None:
    vectors, asked = low_dimensional(3001, 96, 1), low_dimensional(257, 96, 2)
    index = kind(vectors)
    together = index.nearest(asked).distance
    for size in (1, 7, 100):
        for alone in (
            torch.cat([index.nearest(part).distance for part in asked.split(size)]),
            torch.cat([index.distances(part) for part in asked.split(size)]),
        ):
            torch.testing.assert_close(alone, together, rtol=1e-5, atol=0)
    assert index.nearest(asked[:0]).distance.shape == index.distances(asked[:0]).shape == (0,)


def test_the_approximate_search_states_its_recall_and_never_comes_too_near() -> None:
    vectors, asked = low_dimensional(6000, 32, 1).split((5000, 1000))
    exact = FaissFlat(vectors).nearest(asked).distance
    index = neighbour_index(vectors, "approximate")
    assert isinstance(index, ApproximateIndex)
    assert index.recall >= 0.99
    found = index.nearest(asked).distance
    assert (found >= exact * (1 - 1e-5)).all()
    assert (found <= exact * (1 + 1e-4)).float().mean() == pytest.approx(index.recall, abs=0.03)
    assert ApproximateIndex(vectors, wanted=0.5).recall < 1


def test_auto_keeps_the_fastest_and_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = cloud(900, 24, 1), cloud(64, 24, 2)
    true = FaissFlat(vectors).nearest(asked).distance
    monkeypatch.setattr(choice, "_multiplies_halves_faster", lambda: True)
    for kept in EXACT:
        monkeypatch.setattr(choice, "_seconds", lambda index, _, kept=kept: float(not isinstance(index, kept)))
        chosen = neighbour_index(vectors)
        assert type(chosen) is kept
        torch.testing.assert_close(chosen.nearest(asked).distance, true, rtol=1e-4, atol=0)


def test_auto_is_tried_with_the_patches_that_a_model_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(choice, "_seconds", lambda _, queries: asked.append(queries) or 1.0)
    kept = cloud(64, 24, 2)
    neighbour_index(cloud(900, 24, 1), probe=kept)
    assert all(queries is kept for queries in asked)


def test_a_vector_of_the_bank_is_at_distance_zero_from_it() -> None:
    vectors = cloud(2000, 152) + 50
    for kind in EXACT:
        found = kind(vectors).nearest(vectors)
        assert found.distance.max() == kind(vectors).distances(vectors).max() == 0
        assert torch.equal(found.index, torch.arange(2000))


def test_the_neighbour_table_begins_with_the_vector_itself_and_is_sorted() -> None:
    vectors = cloud(1500, 12)
    table = neighbour_table(vectors, 9)
    assert table.shape == (1500, 9)
    between = torch.cdist(vectors.double(), vectors.double())
    assert torch.equal(table[:, 0], torch.arange(1500, dtype=torch.int32))
    chosen = between.gather(1, table.long())
    torch.testing.assert_close(chosen, between.topk(9, largest=False).values, rtol=1e-4, atol=1e-3)
    assert neighbour_table(vectors[:3], 9).shape == (3, 3)
