"""Named regions of a part: judged, ignored, or looked at for what must be there, and told by name."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from assembled_plates import PARTS, SIDE, plate, polygon_of, write_plates
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.decisions.judgement import Judgement, judged
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.recalibrate import Wish, recalibrate
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.update import update
from neverblink.trainer.retraining.refit import refit, settings_like
from neverblink.vision.alignment.view import Pose, View
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.decode import Image, read_image
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import NamedScore
from neverblink.vision.inspector import Inspector, extractor_of, inspect, inspect_defects
from neverblink.vision.named_regions.naming import RegionNames
from neverblink.vision.named_regions.spec import FittedRegion, RegionsError, RegionsSpec, load_regions

SETTINGS = FitSettings(product="plate", name="plate", size=128, brightness=(1.0,), folds=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("regions")
    write_plates(place / "good", 30)
    for state in ("absent", "wrong", "turned"):
        write_plates(place / "plug" / state, 3, 900, plug=state)
    regions = [
        {"name": "label", "kind": "ignored", "polygon": polygon_of("label")},
        {"name": "screw", "kind": "judged", "share": 0.2, "polygon": polygon_of("screw")},
        {
            "name": "plug",
            "kind": "presence",
            "polygon": polygon_of("plug"),
            "examples": {state: f"plug/{state}" for state in ("absent", "wrong", "turned")},
        },
        {"name": "clip", "kind": "presence", "polygon": polygon_of("clip")},
    ]
    (place / "regions.yaml").write_text(yaml.safe_dump({"width": SIDE, "height": SIDE, "regions": regions}))
    return place


def fitted(folder: Path, out: str, **changes: object) -> Artifact:
    settings = FitSettings.model_validate(SETTINGS.model_dump() | {"regions": folder / "regions.yaml"} | changes)
    fit(sorted((folder / "good").iterdir()), folder / out, settings)
    return load_artifact(folder / out)


@pytest.fixture(scope="module")
def model(folder: Path) -> Artifact:
    return fitted(folder, "model")


@pytest.fixture(scope="module")
def inspector(model: Artifact) -> Inspector:
    return Inspector(model, extractor_of(model))


def judge(inspector: Inspector, *images: Image, edited: float | None = None) -> list[Judgement]:
    by = inspector if edited is None else inspector.with_threshold(edited)
    calibration = inspector.artifact.manifest.calibration
    return [
        judged(seen, calibration, DEFAULT_RULES, mm_per_px=None, edited=edited)
        for seen in inspect_defects([(by, image) for image in images])
    ]


def failed(judgement: Judgement) -> list[tuple[str, str | None, str | None]]:
    return [(one.type, one.region, one.taxonomy) for one in judgement.defects if one.source == "presence"]


def test_what_is_absent_another_one_or_turned_is_told_by_name_and_by_what_is_wrong(inspector: Inspector) -> None:
    states = ("absent", "wrong", "turned")
    found = judge(inspector, *(plate(2000 + place, plug=state) for place, state in enumerate(states)))
    for state, one in zip(states, found, strict=True):
        assert one.reject
        assert failed(one)[0] == (state, "plug", "assembly")
        x, y = PARTS["plug"]
        box = next(defect.bbox for defect in one.defects if defect.region == "plug")
        assert (box.x, box.y, box.width, box.height) == (x, y, 24, 24)
        assert {region.name: region.state for region in one.regions}["plug"] == state
    (without_examples,) = judge(inspector, plate(2003, clip="absent"))
    assert failed(without_examples)[0] == ("absent", "clip", "assembly")


def test_good_parts_pass_and_say_what_is_present(inspector: Inspector) -> None:
    found = judge(inspector, *(plate(3000 + number) for number in range(12)))
    assert sum(one.reject for one in found) <= 3
    for one in found:
        assert [region.name for region in one.regions] == ["screw", "plug", "clip", "rest"]
        assert max(region.ratio for region in one.regions) == pytest.approx(one.ratio)
        assert all(region.threshold == one.threshold for region in one.regions)
        if not one.reject:
            assert [region.state for region in one.regions] == [None, "present", "present", None]


def test_a_judged_region_is_told_by_name_and_what_lies_in_an_ignored_one_is_not(inspector: Inspector) -> None:
    spoilt = plate(2005)
    x, y = PARTS["screw"]
    spoilt[y + 6 : y + 18, x + 6 : x + 18] = (250, 240, 20)
    (found,) = judge(inspector, spoilt)
    assert found.reject
    assert max(found.regions, key=lambda region: region.ratio).name == "screw"
    assert "screw" in {defect.region for defect in found.defects}
    ignored = inspector.artifact.manifest.named_regions
    assert ignored is not None
    inside = np.asarray(inspect([(inspector, plate(2006, label="wrong"))])[0].anomaly_map)
    scale = inside.shape[0] / SIDE
    x, y = PARTS["label"]
    assert not inside[int((y + 8) * scale) : int((y + 16) * scale), int((x + 8) * scale) : int((x + 16) * scale)].any()


def test_an_edited_threshold_scales_all_regions_alike(inspector: Inspector) -> None:
    image = plate(2007, plug="absent")
    (before,) = judge(inspector, image)
    (after,) = judge(inspector, image, edited=2 * inspector.artifact.threshold)
    for one, other in zip(before.regions, after.regions, strict=True):
        assert other.ratio == pytest.approx(one.ratio / 2)
    (passed,) = judge(inspector, image, edited=1.01 * before.score)
    assert not passed.reject
    assert failed(passed) == []
    assert {region.state for region in passed.regions} == {None, "present"}


def test_a_score_does_not_depend_on_company_nor_on_whether_its_map_is_made(inspector: Inspector) -> None:
    images = [plate(2010 + number) for number in range(3)] + [plate(2013, clip="absent")]
    together = inspect_defects([(inspector, image) for image in images])
    for image, one in zip(images, together, strict=True):
        (alone,) = inspect_defects([(inspector, image)], complete=True)
        assert alone.anomaly.score == pytest.approx(one.anomaly.score, rel=1e-5)
        assert [region.name for region in alone.regions] == [region.name for region in one.regions]
        np.testing.assert_allclose(alone.anomaly.anomaly_map, one.anomaly.anomaly_map, rtol=1e-4, atol=1e-5)


def test_a_part_that_is_no_number_is_never_passed(inspector: Inspector) -> None:
    prepared = inspector.prepare(plate(1))
    features = inspector.extractor.embed(prepared.inputs).clone()
    features[0, 3, 3, 0] = math.nan
    (anomaly,) = inspector.judge(features, [(SIDE, SIDE)])
    assert math.isnan(anomaly.score)
    assert anomaly.fault is not None


@pytest.mark.plant
@pytest.mark.parametrize(
    "changes",
    [
        {"tiling": {"tile": 64, "overlap": 0.25}},
        {"clahe": {"clip_limit": 2.0}, "top": 3, "neighbours": 3},
        {"brightness": (0.8, 1.0, 1.2), "keep_aspect": True},
    ],
    ids=["tiles", "CLAHE, top and eq. 7", "in other light"],
)
def test_named_regions_work_with_what_else_a_fit_may_be_asked(folder: Path, changes: dict[str, object]) -> None:
    model = fitted(folder, f"model-{len(changes)}-{next(iter(changes))}", **changes)
    own = Inspector(model, extractor_of(model))
    images = [plate(2000, plug="absent"), plate(2001, clip="wrong"), *(plate(3000 + number) for number in range(40))]
    absent, wrong, *good = judge(own, *images)
    assert failed(absent)[0] == ("absent", "plug", "assembly")
    assert failed(wrong)[0][1] == "clip"
    # At most 9.5 % are promised: of 40 hardly ever more than a quarter.
    assert sum(one.reject for one in good) <= 10
    for image, one in zip(images[:3], (absent, wrong, good[0]), strict=True):
        assert judge(own, image)[0].score == pytest.approx(one.score, rel=1e-5)


@pytest.mark.plant
def test_jobs_that_change_a_model_keep_its_regions(folder: Path, model: Artifact, tmp_path: Path) -> None:
    wider = recalibrate(folder / "model", tmp_path / "wider", Wish(threshold=2 * model.threshold)).artifact
    assert wider.manifest.named_regions == model.manifest.named_regions
    more = write_plates(tmp_path / "more", 3, 5000)
    taught = update(folder / "model", tmp_path / "taught", more).artifact
    assert taught.manifest.named_regions == model.manifest.named_regions
    normals = write_plates(tmp_path / "later", 30, 6000)
    later = refit(model, normals, tmp_path / "later-model", settings_like(model, 30, version="2"))
    own = Inspector(later, extractor_of(later))
    absent, good = judge(own, plate(2000, plug="turned"), plate(3000))
    assert failed(absent)[0] == ("turned", "plug", "assembly")
    assert failed(good) == []


SPEC = RegionsSpec(
    width=200,
    height=100,
    regions=(
        FittedRegion(name="hole", kind="ignored", polygon=((0, 0), (50, 0), (50, 50), (0, 50))),
        FittedRegion(name="screw", kind="presence", polygon=((100, 40), (120, 40), (120, 60), (100, 60)), checks={}),
        FittedRegion(name="rest", kind="judged", polygon=()),
    ),
)


def test_an_ignored_region_silences_what_the_u_net_alone_sees_in_it() -> None:
    names = RegionNames(SPEC, 32)
    picture = np.zeros((200, 400, 3), dtype=np.uint8)
    inside = Finding("scratch", "unet", 10, 10, 60, 60, 900, 0.9, seen_by=("unet",))
    beside = Finding("scratch", "unet", 300, 10, 60, 60, 900, 0.9, seen_by=("unet",))
    kept = names.named([inside, beside], [NamedScore("screw", "presence", 0.5, "present")], picture)
    assert [(one.x, one.region) for one in kept] == [(300, "rest")]


def test_a_failed_check_lies_where_its_region_does_on_the_cameras_picture() -> None:
    names = RegionNames(SPEC, 32)
    camera = np.zeros((400, 600, 3), dtype=np.uint8)
    view = View(camera, Pose(300, 200, 180).matrix(100, 200), 100, 200)
    (found,) = names.named([], [NamedScore("screw", "presence", 2.0, "absent")], view)
    # Turned by half a turn about the middle, (100..120, 40..60) of the upright picture is (280..300, 190..210).
    assert (found.x, found.y, found.width, found.height) == (280, 190, 20, 20)
    assert (found.type, found.region, found.area_px) == ("absent", "screw", 400)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "watched"}, "kind"),
        ({"polygon": [[0, 0], [9, 9]]}, "at least 3"),
        ({"polygon": [[0, 0], [99, 0], [0, 9]]}, r"corner \(99, 0\) of screw lies outside the picture of 96 × 96"),
        ({"polygon": [[0, 0], [9, 9], [18, 18]]}, "has no area"),
        ({"polygon": [[0, 0], [40, 30], [40, 0], [0, 20]]}, "the polygon of screw crosses itself"),
        ({"name": "rest"}, "choose another name"),
        ({"share": 1.0}, "nothing is left for rest"),
        ({"colour": "red"}, "colour"),
        ({"examples": {"absent": "there"}}, "only a presence check has examples"),
    ],
)
def test_a_regions_file_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    region = {"name": "screw", "kind": "judged", "polygon": polygon_of("screw")} | changed
    file = tmp_path / "regions.yaml"
    file.write_text(yaml.safe_dump({"width": SIDE, "height": SIDE, "regions": [region]}))
    with pytest.raises(RegionsError, match=said):
        load_regions(file)


def test_the_picture_to_draw_on_is_made_by_a_command(folder: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        app,
        [
            "region", "preview", str(folder / "good"), "--regions", str(folder / "regions.yaml"),
            "--out", str(tmp_path / "preview.png"),
        ],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.endswith(f"width: {SIDE}\nheight: {SIDE}\n")
    assert read_image(tmp_path / "preview.png").shape[0] > SIDE
