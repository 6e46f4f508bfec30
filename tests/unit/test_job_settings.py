"""Settings of a job: from options, from a file, from both; a mistake is one sentence that says where it stands."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.cli import main
from neverblink.cli.jobs import JOBS
from neverblink.job_life.settings import SettingsError
from neverblink.trainer.evaluation.settings import EvaluateJob
from neverblink.trainer.fitting.settings import CalibrateJob, FitJob
from neverblink.trainer.offline_inspection.settings import InspectJob
from neverblink.trainer.retraining.settings import RetrainJob
from neverblink.vision.region_of_interest import RegionOfInterest


class AskedError(Exception):
    """Carries the settings that a command line comes to, instead of the work."""


def asked(monkeypatch: pytest.MonkeyPatch, name: str, *words: object) -> Any:
    """Return the settings that a command line comes to."""

    def refuse(settings: object, _: object) -> object:
        raise AskedError(settings)

    job = JOBS[name]
    real = job.work
    object.__setattr__(job, "work", refuse)
    monkeypatch.setattr(sys, "argv", ["neverblink", name, *map(str, words)])
    try:
        with pytest.raises(AskedError) as told:
            main()
    finally:
        object.__setattr__(job, "work", real)
    return told.value.args[0]


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[str, dict[str, Any]]:
    """Return what a command line that is refused says on standard error, and as its last line of JSON."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words), "--progress", "json"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    told: dict[str, Any] = orjson.loads(line)
    assert end.value.code == told["exit_code"] == 2
    assert told["kind"] == "error"
    return said.err, told


def written(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


# Options


def test_options_and_their_old_spellings_come_to_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    new = asked(
        monkeypatch, "fit", "good", "--product", "pcb", "--model", "resnet18", "--neighbours", 9, "--memory-gib", 2,
        "--tiling", "tile=512,overlap=0.3", "--clahe", 3, "--white-balance", "1.1,1,0.9", "--brightness", "0.8, 1",
    )  # fmt: skip
    old = asked(
        monkeypatch, "fit", "good", "--product", "pcb", "--backbone", "resnet18", "--eq7", 9, "--memory", 2,
        "--tile", 512, "--overlap", 0.3, "--clahe", "clip_limit=3", "--white-balance", "1.1,1,.9",
        "--brightness", "0.8,1",
    )  # fmt: skip
    assert new == old
    assert (new.tiling.tile, new.tiling.overlap, new.clahe.clip_limit) == (512, 0.3, 3)
    assert (new.white_balance, new.brightness) == ((1.1, 1, 0.9), (0.8, 1))
    assert asked(monkeypatch, "fit", "good", "--product", "pcb", "--tiling", 512).tiling.tile == 512


def test_an_overlap_without_tiles_has_no_effect_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "fit", "good", "--product", "pcb", "--overlap", 0.3).tiling is None


def test_what_is_not_given_is_left_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "fit", "good", "--product", "pcb") == FitJob(images=Path("good"), product="pcb")


def test_an_option_that_may_be_given_again_makes_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(
        monkeypatch, "retrain", "good", "--out", "new", "--champion", "old", "--defects", "a", "--defects", "b"
    )
    assert found.defects == (Path("a"), Path("b"))


# A file


def test_a_file_says_what_options_say_and_options_count_instead_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = written(
        tmp_path,
        "images: good\nproduct: pcb\nout: /models/pcb\nsize: 320\nkeep_aspect: true\ntiling: {tile: 512}\n"
        "brightness: [0.8, 1]\nmodel_version: '7'\nfolds: 3\n",
    )
    found = asked(monkeypatch, "fit", "--settings", path, "--size", 384, "--no-keep-aspect")
    # What a file names lies beside it.
    assert (found.images, found.out) == (tmp_path / "good", Path("/models/pcb"))
    assert (found.size, found.keep_aspect, found.folds) == (384, False, 3)
    assert (found.of_the_model.version, found.of_the_model.tiling.tile) == ("7", 512)


def test_polygons_stand_in_the_file_or_in_one_of_their_own(tmp_path: Path) -> None:
    polygons = "inside: [[[0, 0], [1, 0], [1, 0.5]]]"
    (tmp_path / "region.yaml").write_text(polygons)
    inline = written(tmp_path, f"images: good\nproduct: pcb\nregion: {{{polygons}}}\n")
    found = FitJob.read(inline, {})
    assert isinstance(found.region, RegionOfInterest)
    assert FitJob.read(written(tmp_path, "images: good\nproduct: pcb\nregion: region.yaml\n"), {}) == found


@pytest.mark.parametrize("text", ["2026-11-01T06:00+01:00", "2026-11-01 05:00:00Z", "'2026-11-01T05:00:00+00:00'"])
def test_an_instant_is_one_however_yaml_reads_it(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"artifact: model\nkafka: true\nplant: plant.yaml\nfrom: {text}\n")
    assert InspectJob.read(path, {}).since == datetime(2026, 11, 1, 5, tzinfo=UTC)


def test_a_word_that_stands_for_a_place_is_no_place(tmp_path: Path) -> None:
    given = {"artifact": "model", "images": "parts"}
    assert InspectJob.read(written(tmp_path, "against: verdicts\n"), given).against == "verdicts"
    assert InspectJob.read(written(tmp_path, "against: old.parquet\n"), given).against == tmp_path / "old.parquet"


# Mistakes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("size: 8", "job.yaml, size: Input should be greater than or equal to 32 (it is 8)"),
        ("sise: 320", "job.yaml: 'sise' is no setting of this job; did you mean 'size'?"),
        ("model_version: a b", "job.yaml, model_version: letters, digits, dots"),
        ("tiling: {tile: 4}", "job.yaml, tiling.tile: Input should be greater than or equal to 32 (it is 4)"),
        ("engine: abacus", "job.yaml, engine: Input should be 'auto', 'torch'"),
        ("region: nowhere.yaml", "nowhere.yaml cannot be read"),
        ("size: [", "job.yaml is not valid YAML"),
        ("- size", "job.yaml must hold settings, one a line, such as `images: VALUE`"),
        ("", "job.yaml must hold settings"),
        ("weights: 5", "job.yaml, weights: Input is not a valid path"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_file_key_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str
) -> None:
    said, told = refused(monkeypatch, capsys, "fit", "good", "--product", "pcb", "--settings", written(tmp_path, text))
    assert sentence in told["error"]
    assert said == f"neverblink: {told['error']}\n"


def test_a_setting_that_the_file_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, told = refused(monkeypatch, capsys, "fit", "--settings", written(tmp_path, "images: good\n"))
    assert told["error"].endswith("job.yaml, product: it is needed, and not given")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fit", "good"], "Missing option '--product'."),
        (["fit", "good", "--product", "pcb", "--size", "8"], "--size"),
        (["fit", "good", "--product", "pcb", "--sise", "8"], "No such option: --sise"),
        (["fit", "good", "--product", "pcb", "--white-balance", "1,x,1"], "--white-balance.1: "),
        (["compare"], "name a folder of images and --config FILE.yaml"),
        (["inspect", "parts"], "name the model with --artifact FOLDER"),
        (["inspect", "--artifact", "model"], "name a folder of images, or --kafka for frames"),
    ],
)
def test_a_mistake_in_the_options_is_told_to_people_and_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    said, told = refused(monkeypatch, capsys, *words)
    assert sentence in told["error"]
    assert said


def test_a_rule_about_several_settings_speaks_of_keys_where_they_stand_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"job\.yaml: station is one of the plant file: name that too"):
        EvaluateJob.read(written(tmp_path, "images: test\nartifact: model\nstation: line-1/top\n"), {})


def test_costs_that_yaml_takes_for_minutes_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="write them in quotes"):
        CalibrateJob.read(written(tmp_path, "artifact: a\nout: b\nimages: c\ncost: 1:50\n"), {})
    assert CalibrateJob.read(written(tmp_path, "artifact: a\nout: b\nimages: c\ncost: '1:50'\n"), {}).cost == "1:50"


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.text(max_size=9))


@given(st.dictionaries(st.sampled_from(sorted(RetrainJob.keys())), ANYTHING))
def test_whatever_is_given_comes_to_settings_or_to_one_sentence(values: dict[str, object]) -> None:
    try:
        said = repr(RetrainJob.read(None, values))
    except SettingsError as error:
        said = str(error)
    assert said
    assert "\n" not in said
