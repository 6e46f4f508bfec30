"""Secrets stay hidden, and what others wrote is shown and never obeyed."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from neverblink.cli.records import tail
from neverblink.events import Verdict
from neverblink.events.examples import examples
from neverblink.job_life.terminal import shown
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, PlantError, parse_plant
from neverblink.records.database import Database, LedgerError
from neverblink.shown import visible, without_secrets

SECRET = "s3cretpw"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{SECRET}@host/db",
        f"postgresql://host/db?user=u&password={SECRET}",
        f"postgresql://host/db?user=u&passfile={SECRET}&sslmode=require",
        f"rtsp://admin:{SECRET}@10.0.0.7/stream1 cannot be opened",
        f"http://cam/mjpg?pwd={SECRET}",
        f"https://hook/x?access_token={SECRET}#top",
        f"host=h user=u password={SECRET} dbname=d",
    ],
)
def test_a_secret_in_an_address_is_hidden_wherever_it_stands(text: str) -> None:
    assert SECRET not in without_secrets(text)
    assert "***" in without_secrets(text)


def test_what_is_no_secret_stays_as_it_is() -> None:
    plain = "opc.tcp://192.0.2.10:4840 and rtsp://cam:554/live?channel=1&subtype=0"
    assert without_secrets(plain) == plain


@pytest.mark.parametrize("query", [f"user=u&password={SECRET}", f"user=u&passwd={SECRET}"])
def test_no_message_of_the_ledger_has_the_password(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OperationalError("connect", {}, Exception(f"connection failed: password={SECRET} user=u"))

    monkeypatch.setattr(Database, "_create", fails)
    with pytest.raises(LedgerError) as caught:
        Database(f"postgresql://127.0.0.1:9/db?{query}", create=True)
    assert SECRET not in str(caught.value)
    with pytest.raises(LedgerError) as caught:
        Database(f"not a url {query}", create=True)
    assert SECRET not in str(caught.value)


def test_plant_check_does_not_repeat_a_password() -> None:
    text = EXAMPLE.replace("bootstrap:", f"password_file: http://u:{SECRET}@x\n  bootstrap:", 1)
    assert text != EXAMPLE
    bad = text.replace("kind: genicam", f"kind: rtsp\n          url: rtsp://admin:{SECRET}@cam/1", 1)
    with pytest.raises(PlantError) as caught:
        parse_plant(bad)
    assert SECRET not in str(caught.value)


@given(st.text())
def test_no_control_character_reaches_a_terminal(text: str) -> None:
    seen = visible(text)
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in seen)
    assert visible(seen) == seen


def test_the_ledger_s_lines_show_markup_and_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(one for one in map(_event, examples()) if isinstance(one, Verdict))
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    database = Database(url, create=True)
    parts = ("[/red]x", "\x1b]0;PWNED\x07\x1b[31mX")
    for number, part in enumerate(parts):
        verdict = first.model_copy(update={"id": f"00000000-0000-5000-8000-00000000000{number}", "part": part})
        keep(database, [verdict], first.times.captured)
    database.close()
    plant = parse_plant(EXAMPLE)
    tail(plant.model_copy(update={"storage": plant.storage.model_copy(update={"ledger": url})}), False, 10)
    said = capsys.readouterr().out
    assert "[/red]x" in said
    assert "\\x1b]0;PWNED\\x07\\x1b[31mX" in said
    assert "\x1b]" not in said


def test_a_ledger_is_not_for_others(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    Database(f"sqlite:///{file}", create=True).close()
    file.chmod(0o644)
    Database(f"sqlite:///{file}", create=True).close()
    assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0


def test_a_table_obeys_no_markup_of_others() -> None:
    assert shown("[bold]x") == "\\[bold]x"


def _event(found: object) -> object:
    return found[0] if isinstance(found, tuple) else found
