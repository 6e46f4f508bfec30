"""What watches the demonstration, where little or nothing of it can be had."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from neverblink.demo.observing import observers, programs
from neverblink.demo.observing.observers import Observers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observers:
    """A machine without any of the programs, and the checkout."""
    for name in ("PATH", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return Observers(ROOT / "deploy", tmp_path)


async def shown(watching: Observers) -> dict[str, str]:
    """Return the table's rows by their first word, and all of it under the empty name."""
    console = Console(file=io.StringIO(), width=200)
    console.print(await watching.table())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    return {"": text, **{line.split()[0]: line for line in text.splitlines() if line.split()}}


async def test_where_nothing_is_the_table_says_how_to_get_each_and_services_export_nothing(bare: Observers) -> None:
    bare.follow_parts()
    bare.asked("camera-line-1")
    bare.measure()
    said = await shown(bare)
    for name in ("Zipkin", "collector", "Prometheus", "Alertmanager"):
        assert re.search(r"not here: .*make observe-parts", said[name]), said[""]
    assert "Nothing watches" in said[""]
    assert bare.environment == {}
    assert bare.trace_url is None
    assert await bare.trace_of("demo", "line-1/1/1") is None
    bare.stop()


async def test_a_collector_without_a_store_is_not_started_and_says_so(
    bare: Observers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers.programs, "collector_program", lambda _: tmp_path / "otelcol")
    bare.follow_parts()
    said = await shown(bare)
    assert "not here" in said["Zipkin"]
    assert "not started without Zipkin" in said["collector"]
    assert bare.environment == {}


async def test_a_program_that_ends_at_once_is_told_with_its_last_words_and_stops_nothing(
    bare: Observers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "prometheus"
    broken.write_text("#!/bin/sh\necho what ails it\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(observers.programs.shutil, "which", lambda name: str(broken) if name == "prometheus" else None)
    bare.measure()
    said = await shown(bare)
    assert "prometheus ended by itself" in said["Prometheus"]
    assert "what ails it" in said[""]
    bare.stop()


def test_an_installed_package_without_deploy_says_that_it_needs_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "__file__", str(tmp_path / "a/b/c/d/e/programs.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(programs.ObservingError, match=r"there is no deploy/ here.*checkout"):
        programs.deployed()
    monkeypatch.chdir(ROOT)
    assert programs.deployed() == ROOT / "deploy"


def test_what_is_fetched_is_what_is_run_and_what_the_containers_have() -> None:
    version = programs.ZIPKIN_VERSION
    assert f"ZIPKIN_VERSION := {version}\n" in (ROOT / "Makefile").read_text()
    assert f"openzipkin/zipkin:{version}\n" in (ROOT / "compose.observability.yaml").read_text()
