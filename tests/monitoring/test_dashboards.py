"""Dashboards ask for what is measured, lie without overlap, and each of their questions has an answer."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from neverblink.brokers.apache import free_port
from rigs.alerting.deployed import exported, names_in, rules
from rigs.alerting.scenarios import Measured
from rigs.alerting.watched_plant import PACKAGES, SHORT, WatchedPlant, missing_parts
from rigs.real_parts import without

HERE = Path(__file__).resolve().parent
BOARDS = sorted((HERE.parents[1] / "deploy/grafana/dashboards").glob("*.json"))
KINDS = {"row", "timeseries", "stat", "table"}
GO_CHECK = "NEVERBLINK_DASHBOARD_CHECK"

_LINE = "a"


@cache
def board(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in board(path)["panels"] if panel["type"] != "row"]


def expressions(path: Path) -> Iterator[tuple[str, str]]:
    for panel in panels(path):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_there_is_a_board_for_each_kind_of_question() -> None:
    assert {path.stem for path in BOARDS} == {"plant", "line", "scorer", "bridge", "drift", "records"}
    assert len({board(path)["uid"] for path in BOARDS}) == len(BOARDS)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_whole(path: Path) -> None:
    read = board(path)
    assert read["title"].startswith("neverblink: ")
    assert {panel["type"] for panel in read["panels"]} <= KINDS
    numbers = [panel["id"] for panel in read["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    for one, other in combinations((panel["gridPos"] for panel in read["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(one["x"] + one["w"] <= 24 for one in (panel["gridPos"] for panel in read["panels"]))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_what_a_board_asks_for_is_measured_or_recorded(path: Path) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [expression for _, expression in expressions(path)]
    asked += [variable["query"] for variable in board(path)["templating"]["list"] if variable["type"] == "query"]
    assert {name for expression in asked for name in names_in(expression)} - exported() == set()
    assert {name for expression in asked for name in re.findall(r"line:[a-z_0-9:]+", expression)} <= recorded


@pytest.mark.plant
@pytest.mark.timeout(900)
def test_a_real_prometheus_answers_every_question_of_every_board(tmp_path: Path) -> None:
    if missing := missing_parts():
        without(PACKAGES, f"{', '.join(missing)} cannot be found")
    port = free_port()
    observed = [
        ["observe", "drift", [[_LINE, "top", "steady"]]], ["observe", "slots", [[_LINE, "top", 0]]],
        ["observe", "slack", 0.4], ["observe", "disks", [["/data", 50]]], ["observe", "certificates", [["ours", 300]]],
    ]  # fmt: skip
    with (
        WatchedPlant(tmp_path / "watched", [("neverblink-scorer", port)]) as watched,
        Measured(tmp_path, "scorer", port).running() as measured,
    ):
        measured.pump("everything", ["everything"], *observed)

        def unanswered() -> list[str]:
            return [
                f"{path.stem}: {title}: {expression}"
                for path in BOARDS
                for title, expression in expressions(path)
                if not watched.query(asked_now(expression))
            ]

        watched.until(lambda: bool(watched.query("rate(neverblink_ledger_kept_total[5s])")), "the first counts")
        with contextlib.suppress(TimeoutError):
            watched.until(lambda: not unanswered(), "every question to be answered")
        assert unanswered() == []


def asked_now(expression: str) -> str:
    """Return what Grafana would ask, with its variables filled in and windows that a few seconds fill."""
    filled = expression.replace("$__rate_interval", "5m").replace("$line", _LINE)
    return re.sub(r"\[(\d+[mhd])\]", lambda match: f"[{SHORT[match.group(1)]}]", filled)


@pytest.mark.plant
@pytest.mark.timeout(900)
def test_grafanas_own_types_take_every_board(tmp_path: Path) -> None:
    if os.environ.get(GO_CHECK) != "1":
        pytest.skip(f"{GO_CHECK}=1 checks them by Grafana's Go module: its first build takes a minute of a processor")
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed: https://go.dev/dl")
    program = tmp_path / "dashboard-check"
    built = subprocess.run(
        [go, "build", "-o", str(program), "."], cwd=HERE / "dashboard_check", env=os.environ | {"GOTOOLCHAIN": "local"},
        capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    if built.returncode != 0:
        without("Grafana's Go module", built.stderr[-500:])
    told = subprocess.run([str(program), *map(str, BOARDS)], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stdout + told.stderr
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(board(BOARDS[0]) | {"panells": []}))
    assert subprocess.run([str(program), str(wrong)], capture_output=True, timeout=60).returncode == 1
