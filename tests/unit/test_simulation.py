"""The simulated camera: what it draws is true, repeatable, and different where it says so."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from neverblink.simulation.parts import PRODUCTS, SIZE, Simulation, write_dataset
from neverblink.vision.alignment.learning import learn_silhouette

TAXONOMY = {"surface", "structural", "dimensional", "foreign-object", "assembly"}
EVERY_DEFECT = [(name, kind.name) for name, drawing in PRODUCTS.items() for kind in drawing.defects]

every_product = pytest.mark.parametrize("product", sorted(PRODUCTS))
held_products = pytest.mark.parametrize("product", sorted(set(PRODUCTS) - {"bracket"}))
every_defect = pytest.mark.parametrize(("product", "defect"), EVERY_DEFECT)


@every_product
def test_a_part_is_an_rgb_image_with_a_mask_of_the_same_size(product: str) -> None:
    part = Simulation(product, seed=3, defect_rate=1).part(0)
    assert part.image.shape == (SIZE, SIZE, 3)
    assert part.image.dtype == np.uint8
    assert part.mask.shape == (SIZE, SIZE)
    assert part.mask.dtype == np.bool_


@every_product
def test_the_same_number_is_the_same_part_whatever_was_drawn_before(product: str) -> None:
    first = Simulation(product, seed=5, defect_rate=0.5)
    forwards = [first.part(number) for number in range(6)]
    second = Simulation(product, seed=5, defect_rate=0.5)
    backwards = [second.part(number) for number in reversed(range(6))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert one.defect == other.defect
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_another_process_draws_the_same_part() -> None:
    program = (
        "import zlib; from neverblink.simulation.parts import Simulation;"
        "print(zlib.crc32(Simulation('pcb', seed=11, defect_rate=1).part(4).image.tobytes()))"
    )
    drawn = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(drawn) == 1


def test_seed_number_and_product_each_change_the_image() -> None:
    part = Simulation("pcb", seed=1).good(0).image
    assert (Simulation("pcb", seed=2).good(0).image != part).any()
    assert (Simulation("pcb", seed=1).good(1).image != part).any()
    assert (Simulation("disc", seed=1).good(0).image != part).mean() > 0.5


@every_product
def test_drawing_leaves_the_global_random_state_alone(product: str) -> None:
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    Simulation(product, defect_rate=1).part(0)
    assert np.random.random() == expected  # noqa: NPY002


@every_product
def test_the_truth_names_what_is_drawn(product: str) -> None:
    sim = Simulation(product, seed=7, defect_rate=0.5)
    parts = [sim.part(number) for number in range(40)]
    assert [part.defect for part in parts] == [sim.truth(number) for number in range(40)]
    for part in parts:
        assert part.mask.any() == (part.defect is not None)
        assert (part.taxonomy is None) == (part.defect is None)


@every_product
def test_the_defect_rate_holds_and_every_type_occurs(product: str) -> None:
    sim = Simulation(product, seed=2, defect_rate=0.2)
    truth = [sim.truth(number) for number in range(2000)]
    bad = [defect for defect in truth if defect is not None]
    assert abs(len(bad) / 2000 - 0.2) < 4 * (0.2 * 0.8 / 2000) ** 0.5
    kinds = {kind.name for kind in sim.drawing.defects}
    assert {kind: bad.count(kind) for kind in kinds if bad.count(kind) < 0.4 * len(bad) / len(kinds)} == {}


@every_product
def test_a_rate_of_zero_has_no_defect_and_a_rate_of_one_nothing_else(product: str) -> None:
    assert not any(Simulation(product, defect_rate=0).truth(number) for number in range(200))
    assert all(Simulation(product, defect_rate=1).truth(number) for number in range(200))


@every_defect
def test_a_defect_is_plain_inside_its_mask_and_changes_nothing_elsewhere(product: str, defect: str) -> None:
    sim = Simulation(product, seed=9)
    number = next(n for n in range(10_000) if replace(sim, defect_rate=1).truth(n) == defect)
    bad = replace(sim, defect_rate=1).part(number)
    good = replace(sim, defect_rate=0).part(number)
    change = np.abs(bad.image.astype(int) - good.image.astype(int)).max(axis=2)
    assert bad.mask.sum() >= 40
    assert change[bad.mask].mean() > 20
    beyond = ~cv2.dilate(bad.mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert change[beyond].mean() < 0.5
    assert np.percentile(change[beyond], 99.9) < 26
    assert bad.taxonomy in TAXONOMY


@every_defect
def test_defects_of_a_type_vary_in_place_or_size(product: str, defect: str) -> None:
    sim = Simulation(product, seed=1)
    areas = {int(sim.defective(defect, number).mask.sum()) for number in range(4)}
    assert len(areas) > 1
    assert min(areas) >= 40


@every_product
def test_training_parts_are_good_and_are_no_parts_of_the_stream(product: str) -> None:
    sim = Simulation(product, seed=4, defect_rate=0)
    good = sim.good(0)
    assert good.defect is None
    assert not good.mask.any()
    assert (good.image != sim.part(0).image).any()


@held_products
def test_good_parts_differ_by_noise_and_placement_only(product: str) -> None:
    sim = Simulation(product, seed=4)
    levels = [sim.good(number).image.mean() for number in range(20)]
    assert np.std(levels) / np.mean(levels) < 0.03
    smooth = [cv2.GaussianBlur(sim.good(number).image, (0, 0), 6).astype(int) for number in range(6)]
    assert max(np.abs(image - smooth[0]).mean() for image in smooth) < 6


@pytest.mark.plant
def test_a_bracket_lies_as_it_fell_all_of_it_in_the_picture() -> None:
    simulation = Simulation("bracket", seed=3)
    aligner = learn_silhouette(simulation.good(number).image for number in range(8)).aligner
    angles = [aligner.find(simulation.good(number).image).angle for number in range(20, 32)]
    spread = np.abs(np.exp(1j * np.radians(angles)).mean())
    assert spread < 0.7, "no angle is preferred"


@every_product
def test_brightness_scales_the_image_like_a_dimmer_lamp(product: str) -> None:
    sim = Simulation(product, seed=4)
    full, half = sim.good(0).image.astype(float), replace(sim, brightness=0.5).good(0).image.astype(float)
    unclipped = full.max(axis=2) < 240
    assert half[unclipped].mean() / full[unclipped].mean() == pytest.approx(0.5, abs=0.01)


@every_product
def test_images_are_exposed_well_enough_for_the_quality_gate(product: str) -> None:
    for number in range(5):
        image = Simulation(product, seed=6).good(number).image
        assert 0.18 < image.mean() / 255 < 0.6
        assert (image.max(axis=2) == 255).mean() < 0.02


def test_an_unknown_product_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"no simulated product 'pcbs'\. Known products: bracket, disc, pcb\."):
        Simulation("pcbs")


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: Simulation("pcb", seed=-1), "-1"),
        (lambda: Simulation("pcb", defect_rate=1.5), "1.5"),
        (lambda: Simulation("pcb", defect_rate=-0.1), "-0.1"),
        (lambda: Simulation("pcb", brightness=0.0), "0.0"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_value(make: Callable[[], Simulation], value: str) -> None:
    with pytest.raises(ValueError, match=value):
        make()


def test_an_unknown_defect_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"has no defect 'rust'\. It has: scratch, "):
        Simulation("disc").defective("rust", 0)


def test_a_negative_part_number_is_refused() -> None:
    with pytest.raises(ValueError, match="start at 0"):
        Simulation("disc").part(-1)


@every_product
def test_a_written_data_set_has_the_mvtec_layout(product: str, tmp_path: Path) -> None:
    sim = Simulation(product, seed=8)
    write_dataset(tmp_path, sim, train=3, test_good=2, per_defect=1)
    names = {kind.name for kind in sim.drawing.defects}
    assert {p.name for p in (tmp_path / "test").iterdir()} == {"good", *names}
    assert {p.name for p in (tmp_path / "ground_truth").iterdir()} == names
    assert sorted(p.name for p in (tmp_path / "train" / "good").iterdir()) == ["000.png", "001.png", "002.png"]
    assert len(list((tmp_path / "test" / "good").iterdir())) == 2
    for name in names:
        image = cv2.imread(str(tmp_path / "test" / name / "000.png"))
        mask = cv2.imread(str(tmp_path / "ground_truth" / name / "000_mask.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None
        expected = sim.defective(name, 0)
        np.testing.assert_array_equal(image[..., ::-1], expected.image)
        np.testing.assert_array_equal(mask, expected.mask * np.uint8(255))


def test_a_negative_count_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="per_defect must be 0 or more images, not -1"):
        write_dataset(tmp_path, Simulation("pcb"), per_defect=-1)
    assert not list(tmp_path.iterdir())
