"""The page that asks an appraiser: for this machine alone, blind, and one answer a picture."""

import http.client
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from agreement_studies import NOW, sit, study_in, the_truth
from typer.testing import CliRunner

from neverblink.agreement.asking.answers import AnswerFile, answers_of
from neverblink.agreement.asking.page import AskingPage
from neverblink.agreement.asking.sitting import Sitting
from neverblink.agreement.study import read_study
from neverblink.cli import app
from neverblink.vision.decode import decode
from rigs.pictures import number_of


class Browser:
    """Asks the page, as a browser on this machine does."""

    def __init__(self, page: AskingPage) -> None:
        self.page = page
        self.base = f"/{page.secret}/"

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, told: Any) -> tuple[int, Any]:
        status, body, _ = self._ask("POST", path, orjson.dumps(told), {})
        return status, orjson.loads(body)

    def next(self) -> dict[str, Any]:
        status, body, _ = self.get("next")
        assert status == 200
        found: dict[str, Any] = orjson.loads(body)
        return found

    def _ask(
        self, verb: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.page.host, timeout=20)
        try:
            connection.request(verb, path if path.startswith("/") else self.base + path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return study_in(tmp_path, parts=4, rounds=1)


@pytest.fixture
def browser(study: Path) -> Iterator[Browser]:
    plan = read_study(study)
    with AnswerFile(study, plan, "Anna") as answers:
        sitting = Sitting(plan, answers, lambda: NOW, lambda: 0.0)
        with AskingPage(sitting, study, "Anna") as page:
            yield Browser(page)


def test_a_round_is_judged_and_kept_answer_by_answer(browser: Browser, study: Path) -> None:
    plan, numbers = read_study(study), []
    for place in range(1, 5):
        shown = browser.next()
        assert (shown["place"], shown["of"], shown["round"], shown["rounds"]) == (place, 4, 1, 1)
        status, png, headers = browser.get(f"picture/{shown['picture']}")
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "image/png", "no-store")
        number = number_of(decode(png))
        numbers.append(number)
        told = {"picture": shown["picture"], "answer": the_truth(number, 1)}
        assert browser.post("answer", told) == (200, {"kept": True})
        assert len(answers_of(study, plan, "Anna")) == place
    assert len(set(numbers)) == 4
    assert not browser.page.finished.is_set()
    assert browser.next() == {"done": True, "round": 1}
    assert browser.page.finished.wait(10)


def test_a_double_click_is_one_answer(browser: Browser, study: Path) -> None:
    told = {"picture": browser.next()["picture"], "answer": "good"}
    assert browser.post("answer", told)[0] == 200
    assert browser.post("answer", told) == (409, {"kept": False})
    browser.next()
    assert browser.post("answer", told) == (409, {"kept": False})
    assert len(answers_of(study, read_study(study), "Anna")) == 1


def test_back_shows_the_part_before_under_another_name(browser: Browser, study: Path) -> None:
    first = browser.next()
    before = browser.get(f"picture/{first['picture']}")[1]
    assert browser.post("back", {}) == (200, {"back": False})
    browser.post("answer", {"picture": first["picture"], "answer": "good"})
    browser.next()
    assert browser.post("back", {}) == (200, {"back": True})
    again = browser.next()
    assert again["place"] == 1
    assert again["picture"] != first["picture"]
    assert browser.get(f"picture/{again['picture']}")[1] == before
    assert browser.get(f"picture/{first['picture']}")[0] == 404


def test_nobody_is_told_anything_without_the_secret_or_by_another_hosts_name(browser: Browser) -> None:
    for path in ("/", "/next", "/wrong/next", "/wrong/"):
        assert browser.get(path)[:2] == (404, b"{}")
    assert browser.get("next", Host="evil.example")[:2] == (404, b"{}")
    assert browser.post("/wrong/answer", {})[0] == 404
    status, body, headers = browser.get("")
    assert status == 200
    assert b"NONCE" not in body
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("told", [{}, {"picture": "x", "answer": "good"}, {"answer": "nice"}, {"picture": "x" * 5000}])
def test_what_is_no_answer_is_not_kept(browser: Browser, study: Path, told: dict[str, str]) -> None:
    status, _ = browser.post("answer", {"picture": browser.next()["picture"], **told})
    assert status in {400, 409}
    assert answers_of(study, read_study(study), "Anna") == []


def test_a_damaged_picture_is_a_sentence_on_the_page(browser: Browser, study: Path) -> None:
    for path in (study / "pictures").iterdir():
        path.write_bytes(b"no picture")
    status, body, _ = browser.get(f"picture/{browser.next()['picture']}")
    assert status == 500
    assert "is damaged" in orjson.loads(body)["error"]


@pytest.mark.plant
def test_keys_in_a_browser_judge_a_round(browser: Browser, study: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    faults: list[str] = []
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            tab = window.new_page()
            tab.on("pageerror", lambda error: faults.append(str(error)))
            tab.on("console", lambda message: faults.append(message.text))
            tab.goto(browser.page.url)
            for key, place in (("g", 1), ("d", 2), ("b", 3), ("d", 2), ("z", 3), ("g", 3), ("d", 4)):
                playwright.expect(tab.locator("#place")).to_have_text(
                    f"round 1 of 1, part {place} of 4", timeout=30_000
                )
                playwright.expect(tab.locator("#good")).to_be_enabled(timeout=30_000)
                tab.keyboard.press(key)
            playwright.expect(tab.locator("#over")).to_be_visible(timeout=30_000)
        finally:
            window.close()
    said = answers_of(study, read_study(study), "Anna")
    assert [one.answer for one in said] == ["good", "defective", "defective", "good", "defective"]
    assert said[1].part == said[2].part
    assert faults == []


# The commands


def run(*words: str, keys: str | None = None) -> Any:
    return CliRunner().invoke(app, ["msa", *words], input=keys, catch_exceptions=False)


def test_a_person_can_judge_at_a_terminal_stop_and_go_on(study: Path) -> None:
    stopped = run("ask", str(study), "--by", "anna", "--terminal", keys="g\nx\nb\nd\nq\n")
    assert stopped.exit_code == 130
    assert "round 1 of 1, part 1 of 4: look at " in stopped.output
    assert "g, d, b or q, please" in stopped.output
    assert "the same command goes on from here" in stopped.output
    assert len(answers_of(study, read_study(study), "Anna")) == 2
    done = run("ask", str(study), "--by", "Anna", "--terminal", keys="d\ng\nd\ng\n")
    assert "round 1 of 1 is done: that was the last" in done.output
    assert "has judged all 1 rounds" in run("ask", str(study), "--by", "Anna").output


def test_the_commands_lead_from_pictures_to_a_report(study: Path, tmp_path: Path) -> None:
    made = run(
        "new", str(tmp_path / "second"), "--images", str(tmp_path / "golden"), "--appraiser", "Anna", "--appraiser",
        "Ben", "--parts", "6", "--defective", "0.5", "--rounds", "2",
    )  # fmt: skip
    assert "3 good parts, 3 defective ones" in made.output
    for name in ("Anna", "Ben"):
        sit(tmp_path / "second", name, the_truth, rounds=2)
    good = run("report", str(tmp_path / "second"))
    assert good.exit_code == 0
    assert "Anna is acceptable by the manual's limits." in good.output
    assert (tmp_path / "second" / "report.html").is_file()
    sit(study, "Ben", lambda *_: "good")
    bad = run("report", str(study), "--json", "--out", str(tmp_path / "bad.html"))
    assert bad.exit_code == 1
    assert orjson.loads((tmp_path / "bad.json").read_bytes())["appraisers"][0]["miss_rate"]["share"] == 1.0


def test_parts_come_from_one_place(tmp_path: Path) -> None:
    for words in ([], ["--images", str(tmp_path), "--product", "pcb"]):
        refused = run("new", str(tmp_path / "study"), "--appraiser", "Anna", *words)
        assert refused.exit_code == 2
        assert "name one" in refused.output
