"""What a reviewer hands in: every mistake is a sentence with its row, and nothing is sent."""

import sys
from pathlib import Path

import orjson
import pytest

from neverblink.cli import main
from neverblink.events import BoundingBox, Judgement
from neverblink.plant import EXAMPLE
from neverblink.reviewing import Answer, ReviewError, answers_in

BOX = BoundingBox(x=310, y=116, width=70, height=25)


def written(tmp_path: Path, text: str, name: str = "answers.csv") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        (
            'serial,judgement,type,region,comment,station\nSN-1,defect,scratch,"310,116,70,25;1,2,3,4",so it is,top\n'
            "SN-2,NORMAL,,,,\n"
        ),
        (
            "\ufeffserial;judgement;type;region;comment;station\r\nSN-1;DEFECT;scratch;310,116,70,25;so it is;top\r\n"
            "SN-2;Normal;;;;\r\n"
        ),
    ],
)
def test_a_csv_of_a_spreadsheet_is_read_whatever_its_separator(tmp_path: Path, text: str) -> None:
    first, second = answers_in(written(tmp_path, text))
    assert (first.named, first.judgement, first.defect_type, first.comment, first.station) == (
        "SN-1", Judgement.DEFECT, "scratch", "so it is", "top",
    )  # fmt: skip
    assert first.regions[0] == BOX
    assert second == Answer("SN-2", Judgement.NORMAL)


def test_json_says_the_same(tmp_path: Path) -> None:
    rows = [{"verdict": "v-1", "judgement": "DEFECT", "region": [[310, 116, 70, 25]]}]
    (found,) = answers_in(written(tmp_path, orjson.dumps(rows).decode(), "answers.json"))
    assert found == Answer("v-1", Judgement.DEFECT, regions=(BOX,))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("serial,judgement\nSN-1,GOOD\n", "row 2: 'GOOD' is no judgement: write NORMAL, DEFECT, INCONCLUSIVE"),
        ("serial,judgement\nSN-1,NORMAL\n,NORMAL\n", "row 3: name one of verdict, serial or part"),
        ("serial,part,judgement\nSN-1,1-1,NORMAL\n", "row 2: name one of verdict, serial or part"),
        ("serial,verdikt\nSN-1,NORMAL\n", "row 2: there is no column 'verdikt'"),
        ("serial,judgement,type\nSN-1,NORMAL,scratch\n", "row 2: SN-1 is judged normal, and a type or region is of a"),
        ("serial,judgement,region\nSN-1,DEFECT,1;2\n", "row 2: '1' is no region: write x,y,width,height"),
        ('serial,judgement,region\nSN-1,DEFECT,"1,2,0,4"\n', "row 2: '1,2,0,4' is no region"),
        ("serial,judgement\nSN-1,NORMAL,more\n", "row 2: the row has more cells than the file has columns"),
        (f"serial,judgement,comment\nSN-1,NORMAL,{'x' * 2001}\n", "row 2: the comment on SN-1 is longer than 2000"),
        ("serial,judgement\n" + "SN-1,NORMAL\n" * 10_001, "has 10001 answers; 10000 are the most at once"),
        ('serial,judgement\n"SN-1,NORMAL\n', "is no CSV in UTF-8"),
    ],
)
def test_what_cannot_be_answered_is_told_with_its_row(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ReviewError) as error:
        answers_in(written(tmp_path, text))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("raw", "name", "sentence"),
    [
        (b"\xff\xfe\x00", "answers.csv", "is no CSV in UTF-8"),
        (b"{}", "answers.json", "is no list of objects"),
        (b"[1]", "answers.json", "is no list of objects"),
        (b"[", "answers.json", "is no JSON"),
        (b'[{"serial": 7, "judgement": "NORMAL"}]', "answers.json", "row 1: serial is '7', which is no text"),
        (b'[{"serial": "a", "judgement": "DEFECT", "region": 7}]', "answers.json", "row 1: region is neither"),
        (b"x" * (8 * 1024 * 1024 + 1), "answers.csv", "is larger than 8 MiB"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, raw: bytes, name: str, sentence: str) -> None:
    file = tmp_path / name
    file.write_bytes(raw)
    with pytest.raises(ReviewError) as error:
        answers_in(file)
    assert sentence in str(error.value)
    with pytest.raises(ReviewError, match="cannot be read"):
        answers_in(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("answer", "v-1"), "name a verdict and what it is, or a file with --from, and not both"),
        (("answer", "v-1", "NORMAL", "--from", "x.csv"), "or a file with --from, and not both"),
        (("answer", "v-1", "FINE"), "'FINE' is no judgement: write NORMAL, DEFECT, INCONCLUSIVE"),
        (("answer", "v-1", "DEFECT", "--region", "1,2"), "'1,2' is no region: write x,y,width,height in pixels"),
        (("answer", "v-1", "NORMAL"), "there is no ledger at"),
        (("take", "--put-back"), "name the verdict that is put back"),
        (("list", "--line", "lime-1"), "the plant has no line 'lime-1'"),
        (("list", "--station", "top"), "write --station LINE/STATION, not top"),
        (("take", "--product", "pbc"), "the plant has no product 'pbc'"),
    ],
)
def test_what_a_command_cannot_do_is_a_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    plant = tmp_path / "plant.yaml"
    plant.write_text(EXAMPLE)
    monkeypatch.setattr(sys, "argv", ["neverblink", "review", *words, "--plant", str(plant)])
    with pytest.raises(SystemExit) as end:
        main()
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert end.value.code == 2
    assert sentence in said


@pytest.mark.parametrize(
    ("reviewing", "sentence"),
    [
        ("second: {pbc: {of: all}}", "records.reviewing.second names product 'pbc', which is not in products"),
        ("reviewers: [{name: a, lines: [line-9]}]", "reviewer a judges parts of line 'line-9', which the plant does"),
        ("reviewers: [{name: a}, {name: a}]", "two reviewers are named 'a'"),
    ],
)
def test_a_list_of_reviewers_that_fits_no_plant_is_refused(reviewing: str, sentence: str) -> None:
    from neverblink.plant import PlantError, parse_plant

    with pytest.raises(PlantError) as error:
        parse_plant(f"{EXAMPLE}\nrecords:\n  reviewing:\n    {reviewing}\n")
    assert sentence in str(error.value)
