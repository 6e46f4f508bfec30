"""Every alert says how bad it is and what to do, is built on what is measured, and is proven quiet and firing."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from rigs.alerting.deployed import exported, names_in, rules

ROOT = Path(__file__).resolve().parents[2]
PROOFS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs/runbooks"
SECTIONS = ("## Cause", "## Check", "## Fix")

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def test_there_are_rules_and_each_alert_has_one_name() -> None:
    assert len(ALERTS) == sum("alert" in rule for rule in rules()) > 20


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_links_a_page_of_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert "page" in rule["labels"]["severity"] or rule["labels"]["severity"] == "ticket"
    assert rule["annotations"]["summary"].endswith(".")
    page = ROOT / rule["annotations"]["runbook"]
    assert page.parent == RUNBOOKS
    text = page.read_text()
    assert text.startswith(f"# {alert}\n\n**Severity:** ")
    assert [section for section in SECTIONS if f"\n{section}\n\n" not in text] == []


def test_every_runbook_is_of_an_alert() -> None:
    linked = {ROOT / rule["annotations"]["runbook"] for rule in ALERTS.values()}
    assert set(RUNBOOKS.glob("*.md")) == linked


def test_what_rules_and_runbooks_ask_for_is_measured() -> None:
    asked = {name for rule in rules() for name in names_in(rule["expr"])}
    asked |= {name for page in RUNBOOKS.glob("*.md") for name in names_in(page.read_text())}
    assert asked - exported() == set()


def test_every_alert_has_a_proof_in_which_it_fires_and_one_in_which_it_is_quiet() -> None:
    proven: dict[str, set[bool]] = {}
    for path in PROOFS:
        for proof in yaml.safe_load(path.read_text())["tests"]:
            for check in proof["alert_rule_test"]:
                proven.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert proven == {alert: {True, False} for alert in ALERTS}


@pytest.mark.plant
@pytest.mark.parametrize("proof", PROOFS, ids=lambda path: path.stem)
def test_promtool_finds_each_alert_quiet_firing_and_quiet_again(proof: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    told = subprocess.run([promtool, "test", "rules", str(proof)], capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout + told.stderr
