"""Converted networks that are kept: the same scores without building anything, and nothing that others could have put
there.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neverblink.plant import Plant
from neverblink.scorer.models import Models
from neverblink.vision import patchcore, segmenter
from neverblink.vision.artifact import load_artifact
from neverblink.vision.engines import KeptGraphs, kept_graphs
from neverblink.vision.engines.openvino_graph import OpenvinoEngine, convert
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.inspector import extractor_of
from rigs.scored_line import ScoredLine, fit_striped, striped, teach_blots

SIDE = 32
SPACIOUS = 1 << 30


class Doubled(ImageNetwork):
    """(N, H, W, 3) uint8 → (N, 3, H, W): pixels times `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__(torch.nn.Conv2d(3, 3, 1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.factor = factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the product."""
        return self.normalised(images) * self.factor


def graph(factor: float) -> object:
    class Passing(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
            return [pixels]

    network = Doubled(factor)
    network.network = Passing()
    return convert(network, side=SIDE)


def factor_of(model: object) -> float:
    made = OpenvinoEngine(model, "openvino").embed(torch.full((1, SIDE, SIDE, 3), 10, dtype=torch.uint8))
    return float(made.flatten()[0]) / 10


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def graphs(tmp_path: Path, said: list[str]) -> KeptGraphs:
    return KeptGraphs(tmp_path / "cache" / "networks", SPACIOUS, said.append)


def only_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache" / "networks").glob("*.graph")
    return found


def test_a_graph_comes_back_as_what_it_was_made_from_and_as_nothing_else(graphs: KeptGraphs, said: list[str]) -> None:
    assert graphs.of("two").get() is None
    graphs.of("two").put(graph(2.0))
    graphs.of("three").put(graph(3.0))
    assert factor_of(graphs.of("two").get()) == 2.0
    assert factor_of(graphs.of("three").get()) == 3.0
    assert graphs.of("four").get() is None
    assert said == []


def test_a_graph_of_other_software_is_not_taken(graphs: KeptGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs.of("two").put(graph(2.0))
    monkeypatch.setattr(kept_graphs, "_software", lambda: "openvino of next year")
    assert graphs.of("two").get() is None


def test_a_damaged_graph_is_told_and_made_again(graphs: KeptGraphs, tmp_path: Path, said: list[str]) -> None:
    graphs.of("two").put(graph(2.0))
    content = bytearray(only_file(tmp_path).read_bytes())
    content[len(content) // 2] ^= 1
    only_file(tmp_path).write_bytes(content)
    assert graphs.of("two").get() is None
    assert "is damaged" in said[0]
    graphs.of("two").put(graph(2.0))
    assert factor_of(graphs.of("two").get()) == 2.0


def test_a_graph_under_anothers_name_is_not_taken(graphs: KeptGraphs, tmp_path: Path, said: list[str]) -> None:
    graphs.of("two").put(graph(2.0))
    two = only_file(tmp_path)
    graphs.of("three").put(graph(3.0))
    three = next(path for path in two.parent.glob("*.graph") if path != two)
    three.write_bytes(two.read_bytes())
    assert graphs.of("three").get() is None
    assert "is damaged" in said[0]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_to_is_left_alone(
    graphs: KeptGraphs, tmp_path: Path, said: list[str], mode: int
) -> None:
    graphs.of("two").put(graph(2.0))
    folder = tmp_path / "cache" / "networks"
    folder.chmod(mode)
    assert graphs.of("two").get() is None
    graphs.of("three").put(graph(3.0))
    assert len(list(folder.iterdir())) == 1
    assert all("others than this service's user may write there" in sentence for sentence in said)
    assert len(said) == 2


def test_a_file_that_others_may_have_written_is_not_read(graphs: KeptGraphs, tmp_path: Path, said: list[str]) -> None:
    graphs.of("two").put(graph(2.0))
    only_file(tmp_path).chmod(0o660)
    assert graphs.of("two").get() is None
    assert "others than this service's user may have written it" in said[0]


def test_a_link_is_not_followed(graphs: KeptGraphs, tmp_path: Path, said: list[str]) -> None:
    graphs.of("two").put(graph(2.0))
    path = only_file(tmp_path)
    path.symlink_to(path.rename(tmp_path / "elsewhere"))
    assert graphs.of("two").get() is None
    assert "cannot be read" in said[0]


def test_what_is_kept_is_for_its_user_alone(graphs: KeptGraphs, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        graphs.of("two").put(graph(2.0))
    finally:
        os.umask(before)
    assert (tmp_path / "cache" / "networks").stat().st_mode & 0o777 == 0o700
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_the_longest_unused_graph_makes_room(graphs: KeptGraphs, tmp_path: Path) -> None:
    for name, factor in (("two", 2.0), ("three", 3.0)):
        graphs.of(name).put(graph(factor))
    folder = tmp_path / "cache" / "networks"
    sizes = [path.stat().st_size for path in folder.iterdir()]
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert graphs.of("two").get() is not None
    tight = KeptGraphs(folder, sum(sizes) + 10, lambda sentence: pytest.fail(sentence))
    tight.of("four").put(graph(4.0))
    assert [tight.of(name).get() is not None for name in ("two", "three", "four")] == [True, False, True]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= sum(sizes) + 10


def test_a_graph_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    small = KeptGraphs(tmp_path / "networks", 100, lambda sentence: pytest.fail(sentence))
    small.of("two").put(graph(2.0))
    assert list((tmp_path / "networks").iterdir()) == []


def test_a_graph_works_where_no_temporary_file_has_room(
    graphs: KeptGraphs, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept_graphs.serialised
    monkeypatch.setattr(kept_graphs, "serialised", lambda model: (whole(model)[0], b""))
    assert factor_of(graphs.of("two").put(graph(2.0))) == 2.0
    assert "for want of room" in said[0]
    assert not (tmp_path / "cache" / "networks").exists()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`striped`, and `strict` with a U-Net."""
    artifacts = fit_striped(tmp_path_factory.mktemp("striped"))
    teach_blots(artifacts)
    return artifacts


@pytest.fixture
def plant(fitted: Path, tmp_path: Path) -> Callable[[str], Plant]:
    def made(product: str) -> Plant:
        found = ScoredLine("127.0.0.1:1", fitted).plant
        storage = found.storage.model_copy(update={"model_cache": tmp_path / "cache"})
        products = tuple(one.model_copy(update={"artifact": product}) for one in found.products)
        return found.model_copy(update={"storage": storage, "products": products})

    return made


def computed(models: Models) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Return the features of a part, the U-Net's probabilities, and the score."""
    model = models["striped"]
    prepared = model.inspector.prepare_defects(striped(5, defect=True))
    (found,) = models.score([(model, prepared)])
    features = model.inspector.extractor.embed(prepared.inputs).numpy()
    return features, found.probabilities, found.anomaly.score


@pytest.mark.parametrize("artifact", ["striped", "strict"])
def test_a_second_start_builds_no_network_and_computes_exactly_the_same(
    plant: Callable[[str], Plant], artifact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, probabilities, score = computed(Models.load(plant(artifact)))

    def built(*_: object, **__: object) -> None:
        pytest.fail("a network was built anew")

    monkeypatch.setattr(patchcore, "reload_backbone", built)
    monkeypatch.setattr(segmenter, "load_unet", built)
    again = computed(Models.load(plant(artifact)))
    np.testing.assert_array_equal(again[0], features)
    assert (probabilities is None) is (artifact == "striped")
    if probabilities is not None:
        assert again[1] is not None
        np.testing.assert_array_equal(again[1], probabilities)
    # Which search is the fastest is found out at each start.
    assert again[2] == pytest.approx(score, rel=1e-5)


def test_an_engine_that_keeps_no_graph_asks_nothing_of_openvino(
    fitted: Path, graphs: KeptGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_graphs, "_software", lambda: pytest.fail("OpenVINO may not be installed"))
    assert extractor_of(load_artifact(fitted / "striped"), engine="torch", graphs=graphs).engine_name == "torch"


def test_a_scorer_starts_where_nothing_can_be_kept(plant: Callable[[str], Plant], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert np.isfinite(computed(Models.load(plant("striped")))[2])


def test_a_second_start_imports_nothing_that_only_builds_networks(
    plant: Callable[[str], Plant], tmp_path: Path
) -> None:
    described = plant("strict")
    Models.load(described)
    file = tmp_path / "plant.json"
    file.write_text(described.model_dump_json())
    program = (
        "import sys; from pathlib import Path; from neverblink.plant import Plant; import neverblink.scorer.commands\n"
        "from neverblink.scorer.models import Models\n"
        "Models.load(Plant.model_validate_json(Path(sys.argv[1]).read_text()))\n"
        "print(*(name for name in ('timm', 'torchvision', 'scipy', 'sympy') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
