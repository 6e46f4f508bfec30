"""`neverblink models`: what is asked for wrongly is told in a sentence, before anything is published."""

import sys
from pathlib import Path

import pytest

from neverblink.cli import main
from neverblink.plant import EXAMPLE


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A plant file that is whole, of a cluster that is not there."""
    file = tmp_path / "plant.yaml"
    whole = EXAMPLE.replace("kafka-1:9092,kafka-2:9092,kafka-3:9092", "127.0.0.1:1")
    file.write_text(whole.replace("objects: s3://plant-1-frames", "objects: frames"))
    return file


def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plant: Path, *words: str
) -> tuple[int, str]:
    """Run the command line as a shell would; returns its exit code and what it says."""
    monkeypatch.setattr(sys, "argv", ["neverblink", "models", *words, "--plant", str(plant)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0), " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("shadow",), "name an artifact, or --off, and not both"),
        (("shadow", "pcb-4", "--off"), "name an artifact, or --off, and not both"),
        (("threshold",), "name a threshold, or --own, and not both"),
        (("threshold", "2.5", "--own"), "name a threshold, or --own, and not both"),
        (("rollback",), "name the stations: --station LINE/STATION, --line LINE, or --product"),
        (("promote", "--station", "line-1/side"), "no such station: line-1/side; the plant has line-1/top (pcb)"),
        (("activate", "pcb-4", "--product", "pcb"), "there is no artifact folder"),
        (("activate", "s3x://elsewhere/pcb-4", "--product", "pcb"), "models are fetched from nowhere else"),
        (("activate", "file:///etc", "--product", "pcb"), "models are fetched from nowhere else"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plant: Path,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    code, said = told(monkeypatch, capsys, plant, *words)
    assert code == 2
    assert sentence in said.replace("│ ", "").replace(" │", "")
