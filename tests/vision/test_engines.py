"""Every engine computes the same features, in any company, and one that does not is refused."""

import contextlib
import importlib.util
import io
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import (
    Engine,
    EngineCheck,
    QuantisedNetwork,
    check_shift,
    compare_engines,
    open_engine,
    quantise,
)
from neverblink.vision.engines.intel import import_openvino
from neverblink.vision.engines.openvino_graph import convert
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.network_names import EngineName
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

SIDE = 64

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the engine torch-cuda cannot run")

no_bfloat16 = pytest.mark.skipif(
    "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor does not multiply bfloat16: the engine openvino-bf16 cannot run",
)

# Scores of one image alone and in a batch. A batch in half precision may be computed by other kernels.
COMPANY: dict[EngineName, float] = {"torch": 1e-4, "torch-cuda": 1e-2, "openvino": 1e-6, "openvino-int8": 1e-6}


class Refusing(ImageNetwork):
    """A network that cannot be run."""

    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError(f"no place for {images.shape}")


def pictures(count: int, *, side: int = SIDE, seed: int = 0) -> list[np.ndarray]:
    """Smooth gradients with noise: (side, side, 3) uint8."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, side)[:, None, None]
    return [
        np.clip(60 + 120 * ramp * random.random(3) + random.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def stacked(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images))


def scores(features: Tensor, bank: Tensor) -> np.ndarray:
    model = PatchCore(bank, preprocess=Preprocess(resize=SIDE))
    return np.array([anomaly.score for anomaly in model.score(features)])


@pytest.fixture(scope="module")
def lite() -> Backbone:
    return load_backbone(preprocess=Preprocess(resize=SIDE))


@pytest.fixture(scope="module")
def embedding(lite: Backbone) -> PatchEmbedding:
    return PatchEmbedding(lite)


class Quantised(NamedTuple):
    """A network, and what making it printed."""

    network: QuantisedNetwork
    printed: str


@pytest.fixture(scope="module")
def made(embedding: PatchEmbedding) -> Quantised:
    if importlib.util.find_spec("nncf") is None:  # looked for, not imported: the import would report home
        pytest.skip("NNCF is not installed: no int8")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        return Quantised(quantise(embedding, side=SIDE, images=pictures(4, seed=5)), printed.getvalue())


@pytest.fixture(scope="module")
def quantised(made: Quantised) -> QuantisedNetwork:
    return made.network


@pytest.fixture(
    scope="module", params=["torch", "openvino", "openvino-int8", pytest.param("torch-cuda", marks=no_cuda)]
)
def engine(request: pytest.FixtureRequest, embedding: PatchEmbedding) -> Engine:
    name: EngineName = request.param
    return open_engine(
        name,
        embedding,
        side=SIDE,
        device="cuda" if name == "torch-cuda" else "cpu",
        quantised=request.getfixturevalue("quantised") if name == "openvino-int8" else None,
    )


def agree(backbone: Backbone, side: int, name: EngineName, device: str, tolerance: float) -> None:
    embedding = PatchEmbedding(backbone)
    images = stacked(pictures(3, side=side))
    reference, candidate = (
        open_engine("torch", embedding, side=side),
        open_engine(name, embedding, side=side, device=device),
    )
    assert compare_engines(reference, candidate, images) < tolerance
    bank = reference.embed(stacked(pictures(2, side=side, seed=1))).flatten(0, 2)
    wanted = scores(reference.embed(images), bank)
    np.testing.assert_allclose(scores(candidate.embed(images).cpu(), bank), wanted, rtol=tolerance)


@pytest.mark.parametrize("side", [64, 100])
def test_openvino_equals_torch(side: int) -> None:
    agree(load_backbone(preprocess=Preprocess(resize=side)), side, "openvino", "cpu", 1e-4)


@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA does not name the weights' folder")
def test_openvino_equals_torch_with_resnet18() -> None:
    weights = Path(os.environ["NEVERBLINK_DATA"], "weights", "resnet18-conv1-to-layer3.safetensors")
    agree(load_backbone("resnet18", weights=weights, preprocess=Preprocess(resize=96)), 96, "openvino", "cpu", 1e-4)


@no_cuda
def test_half_precision_on_cuda_stays_within_a_hundredth(lite: Backbone) -> None:
    agree(lite, SIDE, "torch-cuda", "cuda", 1e-2)


@no_cuda
def test_a_batch_larger_than_the_largest_graph_is_cut(embedding: PatchEmbedding) -> None:
    images = stacked(pictures(35))
    engine = open_engine("torch-cuda", embedding, side=SIDE, device="cuda")
    pieces = torch.cat([engine.embed(images[:32]), engine.embed(images[32:])])
    torch.testing.assert_close(engine.embed(images), pieces)


@pytest.mark.parametrize("batch", [2, 7, 32])
def test_a_score_does_not_depend_on_the_batch(engine: Engine, batch: int) -> None:
    bank = engine.embed(stacked(pictures(2, seed=1))).cpu().flatten(0, 2)
    images = stacked(pictures(batch, seed=batch))
    together = scores(engine.embed(images).cpu(), bank)
    alone = [scores(engine.embed(images[index : index + 1]).cpu(), bank)[0] for index in range(batch)]
    np.testing.assert_allclose(together, alone, rtol=COMPANY[engine.name])


def test_images_that_run_side_by_side_keep_their_places(
    embedding: PatchEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    engine = open_engine("openvino", embedding, side=SIDE)
    images = stacked(pictures(5, seed=3))
    alone = torch.cat([engine.embed(image) for image in images.split(1)])
    torch.testing.assert_close(engine.embed(images), alone)


def test_no_image_gives_no_feature(engine: Engine) -> None:
    assert engine.embed(torch.zeros((0, SIDE, SIDE, 3), dtype=torch.uint8)).shape == (0, 8, 8, 152)


def test_features_of_one_batch_outlive_the_next(engine: Engine) -> None:
    first = engine.embed(stacked(pictures(2, seed=1)))
    kept = first.clone()
    engine.embed(stacked(pictures(2, seed=2)))
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


@pytest.mark.usefixtures("engine")
def test_opening_an_engine_leaves_the_embedding_as_it_was(embedding: PatchEmbedding) -> None:
    assert any(isinstance(module, nn.BatchNorm2d) for module in embedding.network.modules())


def test_auto_is_openvino_on_a_cpu_and_torch_where_it_is_missing(
    lite: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FeatureExtractor(lite).engine_name == "openvino"
    monkeypatch.setattr("neverblink.vision.engines.selection.openvino_is_installed", lambda: False)
    assert FeatureExtractor(lite).engine_name == "torch"


def test_openvino_and_nncf_find_no_way_to_report_home(quantised: QuantisedNetwork) -> None:
    assert quantised.graph.size
    assert sys.modules["openvino_telemetry"] is None  # type: ignore[comparison-overlap]
    for module in ("openvino.tools.ovc.telemetry_utils", "openvino.tools.ovc.convert_impl"):
        assert sys.modules[module].tm.__name__ == "openvino.tools.ovc.telemetry_stub"


def test_models_opened_at_the_same_time_leave_the_log_as_it_was(embedding: PatchEmbedding) -> None:
    root = logging.getLogger()
    before = root.level, root.filters[:], root.handlers[:]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: open_engine("openvino", embedding, side=SIDE, device="cpu"), range(4)))
    assert (root.level, root.filters, root.handlers) == before


def test_a_model_that_cannot_be_converted_leaves_the_log_as_it_was() -> None:
    root = logging.getLogger()
    before = root.level, root.filters[:], root.handlers[:]
    with pytest.raises(RuntimeError):
        convert(Refusing(nn.Identity(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), side=8)
    assert (root.level, root.filters, root.handlers) == before


def test_quantising_prints_nothing(made: Quantised) -> None:
    assert made.printed == ""


def test_int8_features_are_near_and_survive_storage(embedding: PatchEmbedding, quantised: QuantisedNetwork) -> None:
    stored = QuantisedNetwork(quantised.graph.copy(), quantised.weights.copy())
    assert stored.digest == quantised.digest
    images = stacked(pictures(3))
    first, again = (
        open_engine("openvino-int8", embedding, side=SIDE, quantised=network) for network in (quantised, stored)
    )
    torch.testing.assert_close(first.embed(images), again.embed(images), rtol=0, atol=0)
    wanted = open_engine("torch", embedding, side=SIDE).embed(images).flatten(0, 2)
    alike = torch.cosine_similarity(wanted, first.embed(images).flatten(0, 2))
    assert 0.9 < alike.mean() < 0.9999


@no_bfloat16
def test_bfloat16_features_are_near_and_do_not_depend_on_their_company(embedding: PatchEmbedding) -> None:
    images = stacked(pictures(5))
    engine = open_engine("openvino-bf16", embedding, side=SIDE)
    found = engine.embed(images)
    alone = torch.cat([engine.embed(image[None]) for image in images])
    torch.testing.assert_close(alone, found, rtol=0, atol=0)
    wanted = open_engine("torch", embedding, side=SIDE).embed(images)
    alike = torch.cosine_similarity(wanted.flatten(0, 2), found.flatten(0, 2))
    assert 0.98 < alike.mean() < 0.999999


def test_bfloat16_is_refused_where_openvino_would_run_in_float32(
    embedding: PatchEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openvino.Core.get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(VisionError, match="does not multiply bfloat16"):
        open_engine("openvino-bf16", embedding, side=SIDE)


def test_a_damaged_or_foreign_int8_network_is_refused(
    lite: Backbone, embedding: PatchEmbedding, quantised: QuantisedNetwork
) -> None:
    def opened(network: QuantisedNetwork | None, *, side: int = SIDE) -> Engine:
        return open_engine("openvino-int8", embedding, side=side, quantised=network)

    text = np.frombuffer(b"no graph at all", dtype=np.uint8)
    for damaged in (
        QuantisedNetwork(text, quantised.weights),
        QuantisedNetwork(quantised.graph[:2000], quantised.weights),
        QuantisedNetwork(quantised.graph, quantised.weights[:1000]),
    ):
        with pytest.raises(VisionError, match="damaged") as refused:
            opened(damaged)
        assert "\n" not in str(refused.value)
        assert damaged.digest != quantised.digest
    with pytest.raises(VisionError, match="another backbone's"):
        opened(quantised, side=96)
    with pytest.raises(VisionError, match="needs the int8 network"):
        opened(None)
    with pytest.raises(VisionError, match="choose openvino-int8"):
        FeatureExtractor(lite, quantised=quantised)


def test_int8_needs_images_of_the_networks_size(embedding: PatchEmbedding) -> None:
    with pytest.raises(VisionError, match="none were given"):
        quantise(embedding, side=SIDE, images=[])
    with pytest.raises(VisionError, match=r"not \(32, 32, 3\) uint8"):
        quantise(embedding, side=SIDE, images=pictures(1, side=32))


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("openvino", "cuda", "CPU only, not on cuda"),
        ("torch-cuda", "cpu", "CUDA only, not on cpu"),
        ("torch", "nonsense", "nonsense cannot be used"),
        ("auto", "nonsense", "nonsense cannot be used"),
        pytest.param("torch-cuda", "cuda:99", "cuda:99 cannot be used", id="no such card"),
    ],
)
def test_an_engine_that_cannot_run_here_says_so(
    embedding: PatchEmbedding, name: EngineName, device: str, said: str
) -> None:
    with pytest.raises(VisionError, match=said):
        open_engine(name, embedding, side=SIDE, device=device)


class _Levels(nn.Module):
    """Returns maps that were made beforehand."""

    def __init__(self, levels: list[Tensor]) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, _pixels: Tensor) -> list[Tensor]:
        return self.levels


def adaptive_mean(vector: np.ndarray, length: int) -> np.ndarray:
    size = len(vector)
    return np.array([vector[i * size // length : -(-(i + 1) * size // length)].mean() for i in range(length)])


@pytest.mark.parametrize(("channels", "dimension"), [((8, 16), 16), ((5, 7), 12), ((3,), 40)])
def test_a_pooled_dimension_is_the_official_codes(channels: tuple[int, ...], dimension: int) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn((1, count, 4, 5), generator=generator) for count in channels]
    spec = BackboneSpec(
        model="levels",
        levels=tuple(range(len(levels))),
        source="timm",
        weights="sha256:" + "0" * 64,
        mean=(0, 0, 0),
        deviation=(1, 1, 1),
        dimension=dimension,
    )
    (found,) = PatchEmbedding(Backbone(_Levels(levels), spec))(torch.zeros((1, 8, 8, 3), dtype=torch.uint8))
    assert found.shape == (4, 5, dimension)
    for row in range(4):
        for column in range(5):
            halves = []
            for level in levels:
                padded = np.pad(level[0].double().numpy(), ((0, 0), (1, 1), (1, 1)))
                patch = padded[:, row : row + 3, column : column + 3]
                halves.append(adaptive_mean(patch.reshape(-1), dimension))
            wanted = adaptive_mean(np.concatenate(halves), dimension)
            np.testing.assert_allclose(found[row, column].numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_the_same_scores_pass_the_check() -> None:
    passed = np.linspace(0.5, 1.2, 40)
    assert check_shift(passed, passed, labels=np.arange(40) >= 30) == EngineCheck(0.0, 0.0)
    assert check_shift(passed, passed).auroc_drop is None


def test_defects_that_sink_among_good_parts_are_refused() -> None:
    labels = np.arange(20) >= 10
    reference = np.where(labels, 2.0, 0.5) + np.linspace(0, 0.1, 20)
    blind = reference.copy()
    blind[labels] -= 1.55
    with pytest.raises(VisionError, match=r"AUROC is lower by 0\.\d+, 0.0050 is allowed"):
        check_shift(reference, blind, labels=labels)


def test_good_parts_that_move_against_their_threshold_are_refused() -> None:
    reference = np.linspace(0.5, 1, 50)
    with pytest.raises(VisionError, match="Kolmogorov-Smirnov distance"):
        check_shift(reference, reference * 1.3)
    assert check_shift(reference, reference * 1.3, max_distribution_shift=1.0).distribution_shift > 0.2


@given(
    st.lists(st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)), min_size=1, max_size=30),
)
def test_the_shift_bounds_the_change_of_the_false_reject_rate(pairs: list[tuple[float, float]]) -> None:
    reference, candidate = np.array(pairs).T
    check = check_shift(reference, candidate, max_distribution_shift=1.0)
    assert abs((reference > 1).mean() - (candidate > 1).mean()) <= check.distribution_shift + 1e-9


def test_scores_that_prove_nothing_are_refused() -> None:
    some = np.ones(3)
    with pytest.raises(VisionError, match="the same images"):
        check_shift(some, np.ones(2))
    with pytest.raises(VisionError, match="without good images"):
        check_shift(some, some, labels=np.ones(3, dtype=bool))
    with pytest.raises(VisionError, match="not finite"):
        check_shift(some, np.array([1, np.nan, 1]))


def test_engines_of_different_networks_are_not_compared(embedding: PatchEmbedding) -> None:
    engine = open_engine("torch", embedding, side=SIDE)
    other = open_engine("torch", PatchEmbedding(load_backbone(levels=(2,))), side=SIDE)
    with pytest.raises(VisionError, match="different networks"):
        compare_engines(engine, other, stacked(pictures(1)))
    with pytest.raises(VisionError, match="without images"):
        compare_engines(engine, engine, torch.zeros((0, SIDE, SIDE, 3), dtype=torch.uint8))
