"""Many images in bounded memory, and a bank that learns from its mistakes."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.fitting import fit as fitting
from neverblink.trainer.fitting import memory_banks
from neverblink.trainer.fitting.feature_store import FeatureStore
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.memory_banks import usual_ratio
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.retraining.refit import settings_like
from neverblink.vision.bank_update import surprise_limit, surprising_patches, updated_bank
from neverblink.vision.coreset import condense, coverage_radius, greedy_k_center
from neverblink.vision.errors import VisionError
from neverblink.vision.neighbours import neighbour_index
from neverblink.vision.patchcore import PatchCore


def clumps(count: int, dimension: int, seed: int = 0) -> torch.Tensor:
    """Points in clumps of very different size, as patches of an image are."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 3, (40, dimension))
    chosen = centres[np.minimum(random.geometric(0.1, count), 40) - 1]
    return torch.from_numpy((chosen + random.normal(0, 1, chosen.shape)).astype(np.float32))


def plates(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for number in range(count):
        random = np.random.default_rng(number)
        brushed = np.repeat(random.normal(140, 12, (64, 1)), 64, axis=1) + random.normal(0, 5, (64, 64))
        cv2.imwrite(str(folder / f"{number:03}.png"), np.clip(brushed, 0, 255).astype(np.uint8))
    return sorted(folder.iterdir())


def settings(**changes: object) -> FitSettings:
    return FitSettings(**({"product": "plate", "name": "plate", "size": 64, "ratio": 0.05} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("in_memory", [1 << 30, 0], ids=["in memory", "in a file"])
def test_features_come_back_as_they_went_in(in_memory: int, tmp_path: Path) -> None:
    features = torch.randn(7, 12, 5, generator=torch.Generator().manual_seed(0))
    with FeatureStore(7, 12, 5, in_memory=in_memory, scratch=tmp_path) as store:
        store.append(features[:4].view(4, 3, 4, 5))
        assert len(store) == 4
        store.append(features[4:])
        assert store.on_disk is (in_memory == 0)
        assert torch.equal(store.image(5), features[5])
        assert torch.equal(store.images(torch.tensor([6, 0, 6])), features[[6, 0, 6]])
        wanted = torch.tensor([83, 0, 40, 40, 7])
        assert torch.equal(store.gather(wanted), features.flatten(0, 1)[wanted])
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_cannot_hold_the_features_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"1000000000 images need .* GiB and .* GiB free; name another"):
        FeatureStore(1_000_000_000, 1024, 152, in_memory=0, scratch=tmp_path)
    with pytest.raises(DatasetError, match="no scratch folder"):
        FeatureStore(10, 10, 10, in_memory=0, scratch=tmp_path / "gone")
    with pytest.raises(DatasetError, match=r"1 GiB of memory do not hold the network"):
        fit(plates(tmp_path / "images", 3), tmp_path / "plate-1", settings().model_copy(update={"memory_gib": 1}))


def test_features_in_a_file_are_not_held_in_memory(tmp_path: Path) -> None:
    program = f"""
import resource, torch
from pathlib import Path
from neverblink.trainer.fitting.feature_store import FeatureStore
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
batch = torch.ones(8, 1024, 128)
before = peak()
with FeatureStore(200, 1024, 128, in_memory=1 << 20, scratch=Path({str(tmp_path)!r})) as store:
    for _ in range(25):
        store.append(batch)
    for index in range(200):
        store.image(index)
    store.gather(torch.arange(0, 200 * 1024, 100))
print(peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # 100 MiB were written and read again.
    assert int(ran.stdout) < 40


def test_a_fit_from_a_file_is_the_fit_from_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = plates(tmp_path / "images", 6)
    monkeypatch.setattr(memory_banks, "_CHOSEN_AT_ONCE", 0)
    memory = fit(images, tmp_path / "memory", settings()).artifact
    stores: list[FeatureStore] = []

    def in_a_file(*shape: int, in_memory: int, scratch: Path | None) -> FeatureStore:
        stores.append(FeatureStore(*shape, in_memory=0, scratch=scratch))
        return stores[-1]

    for module in (fitting, memory_banks):
        monkeypatch.setattr(module, "FeatureStore", in_a_file)
    file = fit(images, tmp_path / "file", settings(scratch=tmp_path)).artifact
    assert [store.dimension for store in stores] == [152, 64]
    np.testing.assert_array_equal(file.bank, memory.bank)
    np.testing.assert_array_equal(file.scores, memory.scores)


def test_many_patches_are_condensed_once_and_the_threshold_hardly_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = plates(tmp_path / "images", 12)
    exact = fit(images, tmp_path / "exact", settings()).artifact
    condensed: list[int] = []
    monkeypatch.setattr(memory_banks, "_CHOSEN_AT_ONCE", 0)
    real = memory_banks.condense
    monkeypatch.setattr(memory_banks, "condense", lambda chunks, *a, **k: condensed.append(1) or real(chunks, *a, **k))
    progress: list[tuple[int, int]] = []
    many = fit(
        images,
        tmp_path / "many",
        settings(),
        lambda stage, done, total: progress.append((done, total)) if stage == "choosing the memory bank" else None,
    ).artifact
    # Five folds, six banks.
    assert len(condensed) == 5
    assert many.bank.shape == exact.bank.shape
    assert progress == sorted(progress)
    assert progress[-1][0] == progress[-1][1]
    assert many.manifest.calibration.threshold == pytest.approx(exact.manifest.calibration.threshold, rel=0.1)


@given(st.integers(1, 100_000_000))
def test_the_usual_bank_is_affordable_and_never_below_a_hundredth(patches: int) -> None:
    share = usual_ratio(patches)
    vectors = share * patches
    assert 0.01 <= share <= 0.25
    assert vectors <= max(65_536, 0.01 * patches) * (1 + 1e-9)
    assert share >= min(0.04, 65_536 / patches) * (1 - 1e-9)
    # More images never make a smaller bank.
    assert usual_ratio(patches + 1024) * (patches + 1024) >= vectors * (1 - 1e-9)


def test_a_bank_nobody_asked_a_share_for_follows_the_number_of_images_in_a_refit_too(tmp_path: Path) -> None:
    images = plates(tmp_path / "images", 12)
    champion = fit(images[:6], tmp_path / "usual", settings(ratio=None)).artifact
    made = champion.manifest.provenance
    assert made.usual_ratio
    # A quarter of so few, of the pictures in one of their three lights.
    assert champion.manifest.vectors == round(made.coreset_ratio * 3 * 6 * 64) == 96
    assert settings_like(champion, 12, version="2").ratio is None
    asked = fit(images[:6], tmp_path / "asked", settings(ratio=0.05)).artifact
    assert not asked.manifest.provenance.usual_ratio
    assert asked.manifest.vectors == round(0.05 * 3 * 6 * 64)
    assert settings_like(asked, 12, version="2").ratio == 0.05


@pytest.mark.parametrize("seed", range(4))
def test_two_levels_stay_within_four_times_the_best_radius(seed: int) -> None:
    points = clumps(6000, 8, seed)
    # The worst arrangement: each chunk is another region, as when images come sorted.
    points = points[points[:, 0].argsort()]
    chunks = points.split(1000)
    count = 60
    kept = condense(chunks, count / 1000)
    assert torch.equal(points[kept.positions], kept.vectors)
    chosen = kept.positions[greedy_k_center(kept.vectors, count)]
    assert len(set(chosen.tolist())) == count
    greedy = coverage_radius(points, greedy_k_center(points, count))
    # Greedy's own radius is at most twice the best: half of it is a lower bound of the best.
    assert coverage_radius(points, chosen) <= 4 * greedy
    # What it is in practice.
    assert coverage_radius(points, chosen) <= 1.5 * greedy


def test_the_coverage_radius_is_the_farthest_distance_to_a_selected_point() -> None:
    points = clumps(3000, 16)
    selected = greedy_k_center(points, 100)
    true = torch.cdist(points.double(), points[selected].double()).amin(dim=1).max()
    assert coverage_radius(points, selected) == pytest.approx(float(true), rel=1e-5)


def test_a_corrected_image_scores_lower_and_no_other_image_higher() -> None:
    bank = clumps(400, 24)
    normals = clumps(8 * 64, 24, seed=1).view(8, 8, 8, 24)
    corrected = normals[:1].clone()
    corrected[0, 2:5, 2:5] += 6
    limit = surprise_limit(bank, normals)
    learned = updated_bank(bank, corrected, limit=limit)
    assert torch.equal(learned[: len(bank)], bank)
    before, after = PatchCore(bank), PatchCore(learned)
    (first,), (second,) = before.score(corrected), after.score(corrected)
    assert second.score <= limit * (1 + 1e-5) < first.score
    others = torch.cat([normals, clumps(4 * 64, 24, seed=2).view(4, 8, 8, 24) + 3])
    for old, new in zip(before.score(others), after.score(others), strict=True):
        assert new.score <= old.score * (1 + 1e-5)
        assert (new.anomaly_map <= old.anomaly_map * (1 + 1e-4)).all()


def test_only_patches_beyond_the_limit_are_inserted_and_no_two_of_them_near_each_other() -> None:
    bank = clumps(300, 16)
    image = clumps(256, 16, seed=3).view(1, 16, 16, 16)
    limit = surprise_limit(bank, image)
    added = surprising_patches(bank, image, limit=limit)
    assert neighbour_index(bank).nearest(added).distance.min() > limit
    assert torch.pdist(added).min() > limit
    assert neighbour_index(torch.cat([bank, added])).nearest(image.view(-1, 16)).distance.max() <= limit * (1 + 1e-5)
    assert torch.equal(surprising_patches(bank, image, limit=limit, most=2), added[:2])


def test_an_image_without_surprises_changes_nothing() -> None:
    bank = clumps(300, 16)
    assert torch.equal(updated_bank(bank, bank[:64].view(1, 8, 8, 16), limit=0.1), bank)
    with pytest.raises(VisionError, match="features of 8 numbers do not fit a bank of 16"):
        updated_bank(bank, torch.zeros(1, 2, 2, 8), limit=0.1)
