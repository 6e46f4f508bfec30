"""A U-Net says the same on every engine and in any company."""

import numpy as np
import pytest
import torch
from torch import nn

from neverblink.vision.errors import VisionError
from neverblink.vision.network_names import EngineName
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.segmenter import Segmenter
from neverblink.vision.unet import Unet, load_unet, new_unet, spec_for, unet_tensors

SIDE = 64
CLASSES = ("scratch", "dent", "stain")

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the engine torch-cuda cannot run")

# Probabilities of one image alone and in a batch, absolute.
COMPANY: dict[EngineName, float] = {"torch": 1e-4, "torch-cuda": 1e-2, "openvino": 0}


def pictures(count: int, *, side: int = SIDE, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return list(random.integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def undecided(encoder: str, **other: str) -> Unet:
    """A U-Net whose probabilities lie anywhere between 0 and 1, with running statistics of its own."""
    spec = spec_for(encoder, CLASSES, preprocess=Preprocess(resize=SIDE), width=8, depth=3, **other)  # type: ignore[arg-type]
    unet = new_unet(spec, seed=0)
    images = torch.from_numpy(np.stack(pictures(8, seed=5)))
    for module in unet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        unet(images)
        logits = unet.eval()(images)
        unet.get_parameter("network.head.weight").mul_(3 / logits.std())
        nn.init.zeros_(unet.get_parameter("network.head.bias"))
    return load_unet(spec, unet_tensors(unet))


@pytest.fixture(scope="module")
def unet() -> Unet:
    return undecided("plain")


@pytest.fixture(scope="module", params=["torch", "openvino", pytest.param("torch-cuda", marks=no_cuda)])
def segmenter(request: pytest.FixtureRequest, unet: Unet) -> Segmenter:
    return Segmenter(unet, engine=request.param, device="cuda" if request.param == "torch-cuda" else "cpu")


@pytest.mark.parametrize(
    ("encoder", "other"),
    [("plain", {}), ("plain", {"norm": "group", "activation": "silu"}), ("tf_efficientnet_lite0", {})],
    ids=["plain", "group norm", "lite"],
)
def test_openvino_equals_torch_within_a_ten_thousandth(encoder: str, other: dict[str, str]) -> None:
    unet = undecided(encoder, **other)
    images = pictures(3)
    with torch.inference_mode():
        wanted = torch.sigmoid(unet(torch.from_numpy(np.stack(images)))).numpy()
    assert wanted.min() < 0.2
    assert wanted.max() > 0.8
    for engine in ("torch", "openvino"):
        np.testing.assert_allclose(Segmenter(unet, engine=engine).segment(images), wanted, rtol=0, atol=1e-4)  # type: ignore[arg-type]


@no_cuda
def test_half_precision_on_cuda_stays_within_two_hundredths(unet: Unet) -> None:
    images = pictures(3)
    fast, wanted = (
        Segmenter(unet, engine=engine, device=device).segment(images)  # type: ignore[arg-type]
        for engine, device in (("torch-cuda", "cuda"), ("torch", "cpu"))
    )
    np.testing.assert_allclose(fast, wanted, rtol=0, atol=2e-2)


@pytest.mark.parametrize("batch", [2, 7])
def test_an_image_does_not_depend_on_its_company(segmenter: Segmenter, batch: int) -> None:
    images = pictures(batch, seed=batch)
    together = segmenter.segment(images)
    alone = np.concatenate([segmenter.segment([image]) for image in images])
    np.testing.assert_allclose(together, alone, rtol=0, atol=COMPANY[segmenter.engine_name])


def test_a_map_for_every_class_and_none_for_no_image(segmenter: Segmenter) -> None:
    found = segmenter.segment(pictures(2))
    assert (found.shape, found.dtype) == ((2, 3, SIDE, SIDE), np.float32)
    assert found.flags.c_contiguous
    assert segmenter.segment([]).shape == (0, 3, SIDE, SIDE)


def test_results_of_one_batch_outlive_the_next(segmenter: Segmenter) -> None:
    first = segmenter.segment(pictures(2, seed=1))
    kept = first.copy()
    segmenter.segment(pictures(2, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_images_of_any_size_are_prepared(segmenter: Segmenter) -> None:
    prepared = segmenter.prepare(pictures(1, side=100)[0])
    assert segmenter.segment([prepared]).shape == (1, 3, SIDE, SIDE)


def test_images_that_were_not_prepared_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(VisionError, match=r"takes \(64, 64, 3\) uint8 images, not \(32, 32, 3\) uint8; prepare"):
        segmenter.segment(pictures(1, side=32))
    with pytest.raises(VisionError, match=r"not .* float32"):
        segmenter.segment([np.zeros((SIDE, SIDE, 3), dtype=np.float32)])  # type: ignore[list-item]


def test_the_unet_stays_as_it_was(unet: Unet) -> None:
    before = unet_tensors(unet)
    Segmenter(unet, engine="torch").segment(pictures(1))
    after = unet_tensors(unet)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_cpu_runs_it_by_openvino(unet: Unet) -> None:
    assert Segmenter(unet).engine_name == "openvino"


def test_an_engine_that_cannot_run_it_says_so(unet: Unet) -> None:
    with pytest.raises(VisionError, match="no int8 network"):
        Segmenter(unet, engine="openvino-int8")
    with pytest.raises(VisionError, match="CPU only, not on cuda"):
        Segmenter(unet, engine="openvino", device="cuda")
