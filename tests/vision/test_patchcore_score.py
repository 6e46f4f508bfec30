"""The fast scores equal a slow, obvious reference in float64, in any company."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from neverblink.vision.anomaly_map import smoothing_matrix
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.errors import VisionError
from neverblink.vision.neighbours import Method, neighbour_table
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

# The reference: loops and definitions, no trick.


def averaged(level: np.ndarray, side: int = 3) -> np.ndarray:
    """(C, h, w) → the mean over side × side neighbours, zeros outside."""
    channels, height, width = level.shape
    reach = side // 2
    padded = np.zeros((channels, height + 2 * reach, width + 2 * reach))
    padded[:, reach : reach + height, reach : reach + width] = level
    result = np.empty((channels, height, width))
    for y in range(height):
        for x in range(width):
            result[:, y, x] = padded[:, y : y + side, x : x + side].mean(axis=(1, 2))
    return result


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(..., h, w) → bilinear, pixel centres aligned, edges clamped."""
    result = np.empty((*image.shape[:-2], height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * image.shape[-2] / height - 0.5, 0), image.shape[-2] - 1)
            u = min(max((x + 0.5) * image.shape[-1] / width - 0.5, 0), image.shape[-1] - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, image.shape[-2] - 1), min(left + 1, image.shape[-1] - 1)
            upper = image[..., top, left] * (1 - (u - left)) + image[..., top, right] * (u - left)
            lower = image[..., bottom, left] * (1 - (u - left)) + image[..., bottom, right] * (u - left)
            result[..., y, x] = upper * (1 - (v - top)) + lower * (v - top)
    return result


def reference_features(levels: list[np.ndarray]) -> np.ndarray:
    """Levels (C, h, w) of one image → (h, w, C)."""
    height, width = levels[0].shape[1:]
    aligned = [averaged(levels[0])] + [resized(averaged(level), height, width) for level in levels[1:]]
    return np.concatenate(aligned).transpose(1, 2, 0)


def reference_score(
    features: np.ndarray, bank: np.ndarray, side: int, sigma: float, neighbours: int
) -> tuple[float, np.ndarray]:
    """(h, w, C) features of one image and an (M, C) bank → image score and (side, side) map."""
    height, width, _ = features.shape
    distances = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            distances[y, x] = min(np.sqrt(((features[y, x] - vector) ** 2).sum()) for vector in bank)
    score = distances.max()
    if neighbours:
        patch = features[np.unravel_index(distances.argmax(), distances.shape)]
        nearest = bank[np.argmin(((bank - patch) ** 2).sum(axis=1))]
        company = bank[np.argsort(((bank - nearest) ** 2).sum(axis=1), kind="stable")[:neighbours]]
        exponentials = np.exp(np.sqrt(((company - patch) ** 2).sum(axis=1)))
        score *= 1 - np.exp(score) / exponentials.sum()
    return score, gaussian_filter(resized(distances, side, side), sigma, mode="reflect")


class TwoLevels(nn.Module):
    """A small network with random weights and two levels, as a backbone has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.fine = nn.Conv2d(3, 5, 5, stride=8, padding=2)
        self.coarse = nn.Conv2d(5, 7, 3, stride=2, padding=1)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        fine = self.fine(pixels)
        return [fine, self.coarse(fine)]


def backbone(side: int = 64) -> Backbone:
    spec = BackboneSpec(
        model="two_levels",
        levels=(2, 3),
        source="file",
        weights="sha256:" + "0" * 64,
        mean=(120.0, 110.0, 100.0),
        deviation=(60.0, 50.0, 40.0),
        preprocess=Preprocess(resize=side),
    )
    return Backbone(TwoLevels().eval(), spec)


def pictures(count: int, side: int = 64, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def test_features_are_averaged_aligned_and_joined_as_the_paper_says() -> None:
    given = backbone()
    images = pictures(2)
    fast = PatchEmbedding(given)(torch.from_numpy(np.stack(images))).detach().numpy()
    pixels = (np.stack(images).astype(np.float64) - given.spec.mean) / given.spec.deviation
    levels = given.network.double()(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))
    for index in range(2):
        slow = reference_features([level[index].detach().numpy() for level in levels])
        np.testing.assert_allclose(fast[index], slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("search", ["gemm", "faiss"])
@pytest.mark.parametrize("neighbours", [0, 1, 4])
def test_scores_and_maps_equal_the_reference(search: Method, neighbours: int) -> None:
    random = np.random.default_rng(1)
    bank = random.normal(0, 0.6, (40, 12)).astype(np.float32)
    features = random.normal(0, 0.6, (3, 8, 6, 12)).astype(np.float32)
    table = neighbour_table(torch.from_numpy(bank), neighbours) if neighbours else None
    model = PatchCore(
        torch.from_numpy(bank), neighbours=table, preprocess=Preprocess(resize=48), smoothing=4, search=search
    )
    for index, anomaly in enumerate(model.score(torch.from_numpy(features))):
        score, anomaly_map = reference_score(
            features[index].astype(np.float64), bank.astype(np.float64), 48, 4, neighbours
        )
        assert anomaly.score == pytest.approx(score, rel=1e-5, abs=1e-9)
        assert anomaly.anomaly_map.dtype == np.float32
        np.testing.assert_allclose(anomaly.anomaly_map, anomaly_map, rtol=1e-5)


def test_the_weight_of_eq_7_stays_finite_at_large_distances() -> None:
    bank = torch.randn(20, 8) * 500
    (anomaly,) = PatchCore(bank, neighbours=neighbour_table(bank, 9)).score(torch.randn(1, 4, 4, 8) * 500)
    assert 0 < anomaly.score < float("inf")


@pytest.mark.parametrize(
    ("patches", "side", "sigma"), [(8, 64, 4.0), (32, 256, 4.0), (7, 50, 1.5), (5, 5, 0.0), (3, 8, 4.0)]
)
def test_the_smoothing_matrix_is_bilinear_then_gaussian(patches: int, side: int, sigma: float) -> None:
    grid = np.random.default_rng(2).random((patches, patches))
    matrix = smoothing_matrix(patches, side, sigma)
    slow = resized(grid, side, side)
    np.testing.assert_allclose(
        matrix @ grid @ matrix.T, gaussian_filter(slow, sigma, mode="reflect") if sigma else slow, rtol=1e-9
    )


@pytest.fixture(scope="module")
def lite() -> FeatureExtractor:
    return FeatureExtractor(load_backbone(preprocess=Preprocess(resize=96)))


@pytest.mark.parametrize("batch", [2, 7, 32])
@pytest.mark.parametrize("reweighted", [False, True])
def test_a_score_does_not_depend_on_the_other_images_of_its_batch(
    lite: FeatureExtractor, batch: int, reweighted: bool
) -> None:
    bank = lite.extract(pictures(8, seed=9)).flatten(0, 2)[::3]
    table = neighbour_table(bank, 9) if reweighted else None
    model = PatchCore(bank, neighbours=table, preprocess=lite.spec.preprocess)
    images = pictures(batch, seed=batch)
    for image, together in zip(images, model.score(lite.extract(images)), strict=True):
        (alone,) = model.score(lite.extract([image]))
        assert together.score == pytest.approx(alone.score, rel=1e-5)
        np.testing.assert_allclose(together.anomaly_map, alone.anomaly_map, rtol=1e-5)


def test_images_of_any_size_share_a_batch(lite: FeatureExtractor) -> None:
    small, large = pictures(1, side=50)[0], pictures(1, side=300)[0][:120]
    together = lite.extract([small, large])
    assert together.shape == (2, 12, 12, 152)
    torch.testing.assert_close(together[1:], lite.extract([large]), rtol=1e-4, atol=1e-4)


def test_a_training_image_with_all_its_patches_in_the_bank_scores_zero(lite: FeatureExtractor) -> None:
    features = lite.extract(pictures(2))
    for search in ("gemm", "faiss"):
        model = PatchCore(features.flatten(0, 2), preprocess=lite.spec.preprocess, search=search)
        assert [anomaly.score for anomaly in model.score(features)] == [0, 0]


def test_a_cropped_model_says_nothing_outside_the_crop() -> None:
    model = PatchCore(torch.zeros(2, 3), preprocess=Preprocess(resize=64, crop=32), smoothing=0)
    (anomaly,) = model.score(torch.ones(1, 4, 4, 3))
    assert anomaly.anomaly_map.shape == (64, 64)
    assert (anomaly.anomaly_map[16:48, 16:48] > 1.7).all()
    assert anomaly.anomaly_map.sum() == pytest.approx(anomaly.anomaly_map[16:48, 16:48].sum())


@pytest.mark.parametrize("neighbours", [0, 3])
def test_only_patches_inside_the_region_are_judged(neighbours: int) -> None:
    random = torch.Generator().manual_seed(0)
    bank, features = torch.randn(30, 6, generator=random), torch.randn(2, 5, 4, 6, generator=random)
    features[0, 0, 0] += 100  # the defect that nobody asked about
    region = np.ones((1, 5, 4), np.bool_)
    region[0, 0] = False
    table = neighbour_table(bank, neighbours) if neighbours else None
    judged = PatchCore(bank, neighbours=table, region=region, smoothing=0, preprocess=Preprocess(resize=40))
    inside = PatchCore(bank, neighbours=table, smoothing=0).score(features[:, 1:])
    for anomaly, expected in zip(judged.score(features), inside, strict=True):
        assert anomaly.score == pytest.approx(expected.score, rel=1e-6)
        assert anomaly.anomaly_map[:4].max() == 0
        assert anomaly.anomaly_map[16:].max() > 0


def test_each_tile_of_an_image_has_a_region_of_its_own() -> None:
    bank, features = torch.zeros(3, 6), torch.ones(4, 2, 2, 6)
    region = np.zeros((2, 2, 2), np.bool_)
    region[1, 0, 1] = True
    model = PatchCore(bank, region=region, smoothing=0, preprocess=Preprocess(resize=32))
    assert [anomaly.score > 0 for anomaly in model.score(features)] == [False, True, False, True]
    with pytest.raises(VisionError, match="3 tiles do not fit"):
        model.score(features[:3])


def test_features_of_another_backbone_are_refused_and_nothing_scores_to_nothing() -> None:
    model = PatchCore(torch.zeros(2, 3))
    with pytest.raises(VisionError, match="another backbone"):
        model.score(torch.zeros(1, 4, 4, 5))
    assert model.score(torch.zeros(0, 4, 4, 3)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: np.zeros((8, 8), np.uint8),
        lambda: np.zeros((8, 8, 3), np.float32),
        lambda: np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_rgb_image_is_refused(lite: FeatureExtractor, wrong: Callable[[], np.ndarray]) -> None:
    with pytest.raises(VisionError, match="uint8 RGB"):
        lite.extract([wrong()])
