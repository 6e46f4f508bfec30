"""A search for a recipe: what it writes, how it goes on after an interruption, and what it tells a person."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import assembled_plates
import numpy as np
import orjson
import pytest
import yaml
from plates import write_plates

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.named_regions import examples_of
from neverblink.trainer.fitting.settings import FitJob
from neverblink.trainer.tuning.candidates import DEFAULT, Candidate
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.jobs import run_tune
from neverblink.trainer.tuning.judging import Scores
from neverblink.trainer.tuning.material import gathered
from neverblink.trainer.tuning.results import TuneResult
from neverblink.trainer.tuning.search import STATE
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.trainer.tuning.state import identity
from neverblink.trainer.tuning.trials import Pictures, Workbench
from neverblink.vision.named_regions.spec import RegionsFile


class Bench:
    """Trials that take ten seconds of a clock of their own; the recipe `good` is clearly better than the others."""

    def __init__(self, good: str | None = None, stops_at: int | None = None, fails: str | None = None) -> None:
        self.now = 0.0
        self.made: list[str] = []
        self.good, self.stops_at, self.fails = good, stops_at, fails

    def clock(self) -> float:
        return self.now

    def try_out(self, candidates: Sequence[Candidate], pictures: Pictures, told: Progress) -> dict[str, Scores]:
        if len(self.made) == self.stops_at:
            raise KeyboardInterrupt
        self.now += 10
        told("extracting features", pictures.work, pictures.work)
        labels = [one.label for one in candidates]
        if self.fails in labels:
            raise DatasetError("no such network")
        self.made.append(" and ".join(labels))
        random = np.random.default_rng(0)
        good, bad = random.normal(0, 1, pictures.good.groups.count), random.normal(1, 1, len(pictures.defects))
        return {one.key: Scores(good, bad + 5 * (one.label == self.good), 10.0) for one in candidates}


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    return write_plates(tmp_path / "plates", train=20, test=12)


def searched(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, images: Path, progress: Progress = lambda *_: None, **given: object
) -> TuneResult:
    monkeypatch.setattr("neverblink.trainer.tuning.search.least_seconds", lambda *_: 0.0)
    monkeypatch.setattr(Workbench, "try_out", lambda _, *asked: bench.try_out(*asked))
    job = TuneJob.model_validate({"images": images, "out": images.parent / "tuned", "budget": "10m"} | given)
    return run_tune(job, progress, clock=bench.clock)


def test_the_settings_file_is_what_a_fit_takes(plates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = searched(monkeypatch, Bench(good="CLAHE 2"), plates, size=64, product="plate")
    assert found.chosen == "CLAHE 2"
    text = yaml.safe_load(found.settings_file.read_text())
    assert not Path(text["images"]).is_absolute(), "the folder may be moved as a whole"
    asked = FitJob.read(found.settings_file, {})
    assert (asked.product, asked.size, asked.clahe is not None) == ("plate", 64, True)
    assert asked.images.resolve() == plates.resolve()


def test_the_report_shows_the_answer_every_recipe_and_the_defects_between(
    plates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(good="CLAHE 2", fails="tf_efficientnet_lite1")
    found = searched(monkeypatch, bench, plates, size=64)
    page = found.report.read_text()
    for one in found.recipes:
        assert one.label in page
    assert "no such network" in page
    assert "Found now, missed by the default" in page
    assert page.count("data:image/jpeg") >= 2
    assert orjson.loads(found.report.with_suffix(".json").read_bytes())["chosen"] == "CLAHE 2"
    assert found.recipes[0].label == DEFAULT.label


def test_a_search_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    plates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Bench(good="in one light")
    at_once = searched(monkeypatch, whole, plates, size=64, out=plates.parent / "whole")
    first = Bench(good="in one light", stops_at=2)
    with pytest.raises(KeyboardInterrupt):
        searched(monkeypatch, first, plates, size=64)
    second = Bench(good="in one light")
    after = searched(monkeypatch, second, plates, size=64)
    assert first.made + second.made == whole.made
    assert after.spent_s == at_once.spent_s
    assert (after.chosen, after.recipes) == (at_once.chosen, at_once.recipes)


def test_nothing_begins_after_the_budget(plates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    found = searched(monkeypatch, bench, plates, size=64, budget="25s")
    assert bench.now <= 35
    assert found.left > 0
    longer = Bench()
    assert searched(monkeypatch, longer, plates, size=64, budget="1h").left == 0
    assert longer.made, "a larger budget goes on"
    assert not set(bench.made) & set(longer.made)


def test_other_pictures_are_not_judged_by_what_was_tried_before(plates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(monkeypatch, Bench(), plates, size=64, budget="15s")
    (plates / "train/good/000.png").unlink()
    with pytest.raises(TuneError, match="other pictures or other settings: name another folder with --out"):
        searched(monkeypatch, Bench(), plates, size=64)
    searched(monkeypatch, Bench(), plates, size=64, replace=True, budget="15s")
    (plates.parent / "tuned" / STATE).write_bytes(b"{")
    with pytest.raises(TuneError, match="begin anew with --replace"):
        searched(monkeypatch, Bench(), plates, size=64)


def test_progress_says_what_is_tried_and_what_is_left(plates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []
    searched(monkeypatch, Bench(), plates, lambda stage, *_: stages.append(stage), size=64)
    told = [stage for stage in stages if "left" in stage]
    assert told[0].startswith("default and top 3 and top 10; ")
    assert told[0].endswith("of 10 min")


def test_a_budget_that_does_not_hold_the_default_is_refused_with_one_that_does(
    plates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neverblink.trainer.tuning.search.least_seconds", lambda *_: 45.0)
    job = TuneJob(images=plates, out=plates.parent / "tuned", budget="10s")
    with pytest.raises(TuneError, match=r"a budget of 10s is too short: .* more than 45 s here, .* give --budget 4m"):
        run_tune(job, clock=lambda: 0.0)


def test_too_few_pictures_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    few = write_plates(tmp_path / "few", train=5, test=2)
    with pytest.raises(TuneError, match="5 good pictures are too few to choose a recipe by: 16 are the least"):
        run_tune(TuneJob(images=few, out=tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        run_tune(TuneJob(images=tmp_path / "empty", out=tmp_path / "out"))


def test_drawn_defects_stand_in_where_there_are_few_real_ones_and_say_so(tmp_path: Path) -> None:
    images = write_plates(tmp_path / "plates", train=20, test=3)
    found = gathered(TuneJob(images=images, size=64), lambda *_: None)
    assert found.source == "synthetic"
    assert "3 pictures of defects are too few to choose by" in " ".join(found.notes)
    assert found.every.source is not None
    paths = found.every.good.usable.paths
    assert [paths[place] for place in found.every.source] == [one.path for one in found.every.defects]


def test_a_third_has_whole_groups_of_both_kinds(plates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neverblink.trainer.tuning.material._ENOUGH_GOOD", 12)
    shutil.rmtree(plates / "test")
    found = gathered(TuneJob(images=plates, size=64), lambda *_: None)
    assert found.some is not None
    assert found.parts.screened_good is not None
    assert found.some.good.groups.count == found.parts.screened_good.sum()
    assert found.some.source is not None
    names = [found.some.good.usable.paths[place] for place in found.some.source]
    assert names == [one.path for one in found.some.defects]


@pytest.mark.plant
def test_a_trial_scores_good_parts_as_a_fit_holds_them_out(plates: Path, tmp_path: Path) -> None:
    job = TuneJob(images=plates, size=64, brightness=(0.8, 1.0), model="tf_efficientnet_lite0")
    material = gathered(job, lambda *_: None)
    with Workbench(job.default) as bench:
        tried = [DEFAULT, Candidate("top 3", {"top": 3})]
        scores = bench.try_out(tried, material.every, lambda *_: None)
        one_light = Candidate("in one light", {"brightness": [1.0]})
        scores |= bench.try_out([one_light], material.every, lambda *_: None)
    for one in [*tried, one_light]:
        settings = one.of(job.default)
        fitted = fit(material.every.good.usable, tmp_path / "model", settings, root=plates)
        assert np.allclose(np.sort(scores[one.key].good), fitted.artifact.scores, rtol=1e-3), one.label
    assert (scores[DEFAULT.key].bad > np.median(scores[DEFAULT.key].good)).mean() > 0.9
    assert scores[DEFAULT.key].ms > 0


def with_regions(folder: Path) -> Path:
    """Write plates whose plug is absent in some, and a file of regions; an example lies among the defects too."""
    assembled_plates.write_plates(folder / "pictures/train/good", 24)
    assembled_plates.write_plates(folder / "pictures/test/absent", 14, 500, plug="absent")
    (folder / "absent").mkdir()
    for one in sorted((folder / "pictures/test/absent").iterdir())[:2]:
        shutil.copy(one, folder / "absent")
    regions = [
        {"name": "label", "kind": "ignored", "polygon": assembled_plates.polygon_of("label")},
        {"name": "screw", "kind": "judged", "share": 0.2, "polygon": assembled_plates.polygon_of("screw")},
        {
            "name": "plug",
            "kind": "presence",
            "polygon": assembled_plates.polygon_of("plug"),
            "examples": {"absent": "absent"},
        },
    ]
    size = {"width": assembled_plates.SIDE, "height": assembled_plates.SIDE}
    (folder / "regions.yaml").write_text(yaml.safe_dump(size | {"regions": regions}))
    return folder / "pictures"


@pytest.mark.plant
def test_a_trial_judges_by_named_regions_as_a_fit_does(tmp_path: Path) -> None:
    job = TuneJob.model_validate(
        {
            "images": with_regions(tmp_path), "regions": tmp_path / "regions.yaml", "size": 96, "brightness": (1.0,),
            "ratio": 0.1, "model": "tf_efficientnet_lite0",
        }
    )  # fmt: skip
    material = gathered(job, lambda *_: None)
    assert len(material.every.defects) == 12
    assert "2 pictures of defects are examples of a presence check and are not shown" in material.notes
    with Workbench(job.default) as bench:
        tried = [DEFAULT, Candidate("top 3", {"top": 3})]
        scores = bench.try_out(tried, material.every, lambda *_: None)
    for one in tried:
        fitted = fit(material.every.good.usable, tmp_path / "model", one.of(job.default), root=job.images)
        assert np.allclose(np.sort(scores[one.key].good), fitted.artifact.scores, rtol=1e-3), one.label
        assert (scores[one.key].bad > scores[one.key].good.max()).all(), one.label
        assert scores[one.key].ms > 0


def test_the_settings_file_names_regions_and_examples_from_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = with_regions(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = searched(monkeypatch, Bench(), images, size=64, regions=Path("regions.yaml"), out=Path("tuned/plate"))
    monkeypatch.chdir("/")
    asked = FitJob.read(tmp_path / found.settings_file, {})
    assert isinstance(asked.regions, RegionsFile)
    assert [one.name for one in asked.regions.regions] == ["label", "screw", "plug"]
    assert len(examples_of(asked.regions)) == 2


def test_with_named_regions_another_promise_or_example_is_another_search(tmp_path: Path) -> None:
    given = {"images": with_regions(tmp_path), "regions": tmp_path / "regions.yaml", "size": 64}
    job = TuneJob.model_validate(given)
    pictures = gathered(job, lambda *_: None).every
    first = identity(pictures, job.default)
    assert identity(pictures, TuneJob.model_validate(given | {"false_reject": 0.2}).default) != first
    (tmp_path / "absent/500.png").unlink()
    assert identity(pictures, TuneJob.model_validate(given).default) != first


@pytest.mark.plant
def test_a_search_on_real_pictures_ends_with_a_recipe_and_a_page(plates: Path, tmp_path: Path) -> None:
    job = TuneJob(images=plates, size=64, out=tmp_path / "tuned", budget="100s", model="tf_efficientnet_lite0")
    ticks = itertools.count()
    # Half a second each time that it is asked: the search is the same on every machine.
    found = run_tune(job, clock=lambda: next(ticks) / 2)
    assert found.taken.recall is not None
    assert found.taken.recall > 0.5
    assert found.defects == "real"
    assert FitJob.read(found.settings_file, {}).product == "plates"
    assert "data:image/jpeg" in found.report.read_text() or found.taken.recall == 1
