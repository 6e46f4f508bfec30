"""The REST API: what a token grants is answered as the questions answer, anything else is a problem in a sentence."""

import asyncio
import re
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_parts import NOON, all_events, made_parts
from pydantic import ValidationError
from sqlalchemy import insert

from neverblink.http_serving.asking import Asking
from neverblink.ledger.api.app import Desk, api_of
from neverblink.ledger.api.document import openapi_json
from neverblink.ledger.api.problems import ApiError
from neverblink.ledger.api.tokens import Doorkeeper, TokenError, granted, make_token, remove_token
from neverblink.ledger.writing import keep
from neverblink.plant import LedgerApi
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.questions.figures import figures
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import parts
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.reading import ReadOnlyRecords

MADE = made_parts(60)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCHEMA = orjson.loads(openapi_json())


class Service:
    """The application over a ledger with MADE in it; `now` is what its clock says."""

    def __init__(self, url: str, folder: Path) -> None:
        self.now = NOON
        self.tokens = folder / "tokens.json"
        self.all = make_token(self.tokens, "mes", NOON).text
        self.one = make_token(self.tokens, "terminal", NOON, ("line-1",), days=1).text
        self.records = ReadOnlyRecords(url, answer_s=5.0, most=3)
        self.ask = Asking(self.records, 3)
        self.desk = Desk(self.ask, Doorkeeper(self.tokens), 25, UTC, lambda: self.now)
        transport = httpx.ASGITransport(api_of(self.desk), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://ledger")

    async def get(self, path: str, token: str | None = None, **parameters: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.all}"}
        return await self.client.get(path, params=parameters, headers=headers)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('api') / 'ledger.db'}"
    database = Database(url, create=True)
    events = all_events(MADE)
    keep(database, events, NOON, traces={one.id: TRACE for one in events})
    database.close()
    return url


@pytest.fixture
async def service(url: str, tmp_path: Path) -> AsyncIterator[Service]:
    found = Service(url, tmp_path)
    yield found
    await found.client.aclose()
    found.ask.close()
    found.records.close()


def evidence_row(name: str, line: str, digest: str) -> dict[str, Any]:
    columns = [column for column in EvidenceFileRow.__table__.columns if column.server_default is None]
    row = {column.name: None if column.nullable else "x" for column in columns}
    told = {"id": name, "line": line, "digest": digest, "bytes": 9, "content_type": "image/png", "deleted": None}
    return {**row, **told, "captured": NOON, "kept": NOON}


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    jsonschema.validate(body, {"required": ["type", "title", "status", "detail"]})
    assert body["status"] == status
    return str(body["detail"])


async def test_a_part_leads_to_its_trace_where_the_plant_says_where_traces_are_seen(service: Service) -> None:
    assert "Link" not in (await service.get("/api/v1/parts/1")).headers
    desk = replace(service.desk, trace_address=lambda trace: f"https://traces.example/für uns/{trace}")
    transport = httpx.ASGITransport(api_of(desk))
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
        answer = await client.get("/api/v1/parts/1", headers={"Authorization": f"Bearer {service.all}"})
    assert answer.headers["Link"] == f'<https://traces.example/f%C3%BCr%20uns/{TRACE}>; rel="related"; title="trace"'


async def test_answers_are_those_of_the_questions_and_fit_the_document(service: Service) -> None:
    def fits(body: Any, name: str) -> Any:
        schema = {"$ref": f"#/components/schemas/{name}", "components": SCHEMA["components"]}
        jsonschema.Draft202012Validator(schema).validate(body)
        return body

    page = fits((await service.get("/api/v1/parts", decision="reject", limit=5)).json(), "PartsPage")
    with service.records.asking() as session:
        expected = parts(session, PartFilter(decision="reject"), limit=5)
        counted = figures(session, RollupFilter())
    assert page == orjson.loads(orjson.dumps(expected, option=orjson.OPT_UTC_Z))
    assert re.fullmatch(r"2026-03-02T[0-9:.]+Z", page["parts"][0]["triggered"])
    found = fits((await service.get("/api/v1/figures")).json(), "Figures")
    proved = fits((await service.get("/api/v1/proof", within=0.5)).json(), "Proof")
    assert proved["estimates"]["precision"]["within"] == 0.5
    assert found == asdict(counted)
    story = fits((await service.get(f"/api/v1/parts/{page['parts'][0]['id']}")).json(), "PartStory")
    assert story["part"] == page["parts"][0]
    groups = fits((await service.get("/api/v1/yield", by="lot", limit=2)).json(), "YieldAnswer")
    assert (len(groups["groups"]), groups["complete"]) == (2, False)
    for of in ("defects", "reasons"):
        fits((await service.get("/api/v1/pareto", of=of)).json(), "Pareto")
    fits((await service.get("/api/v1/changes", **{"from": "2026-03-02T13:00:00+01:00"})).json(), "PartsPage")


async def test_pages_have_the_servers_bound_and_lead_to_the_end(service: Service) -> None:
    seen: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = (await service.get("/api/v1/parts", limit=10_000, **more)).json()
        assert len(page["parts"]) <= 25
        seen += [part["serial"] for part in page["parts"]]
        if page["next"] is None:
            break
        more = {"cursor": page["next"]}
    assert seen == [one.serial for one in reversed(MADE)]


async def test_life_and_version_need_no_token_and_nothing_else_is_told_without_one(service: Service) -> None:
    assert (await service.client.get("/livez")).json()["status"] == "alive"
    assert (await service.client.get("/version")).json()["api"] == "v1"
    paths = [
        path.replace("{number}", "1").replace("{digest}", "0" * 64)
        for path in SCHEMA["paths"]
        if path.startswith("/api/")
    ]
    assert len(paths) == 8
    stranger = f"Bearer nbl_{'A' * 43}"
    for path in paths:
        for header in (None, "", "Basic bWVzOm1lcw==", "Bearer", "Bearer x", stranger, f"{stranger} {service.all}"):
            answer = await service.client.get(path, headers={} if header is None else {"Authorization": header})
            assert "give a valid token" in problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_shows_its_lines_alone(service: Service) -> None:
    mine = [one.serial for one in MADE if one.line == "line-1"]
    found: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = (await service.get("/api/v1/changes", service.one, **more)).json()
        found += [part["serial"] for part in page["parts"]]
        more = {"cursor": page["next"]}
        if not page["more"]:
            break
    assert sorted(found) == mine
    assert "does not grant the line line-2" in problem(
        await service.get("/api/v1/parts", service.one, line=["line-1", "line-2"]), 403
    )
    assert (await service.get("/api/v1/figures", service.one)).json()["parts"] == len(mine)
    groups = (await service.get("/api/v1/yield", service.one)).json()["groups"]
    assert [group["group"] for group in groups] == ["line-1"]
    every = (await service.get("/api/v1/parts", limit=25)).json()["parts"]
    other = next(part["id"] for part in every if part["line"] == "line-2")
    assert "among the lines that the token grants" in problem(
        await service.get(f"/api/v1/parts/{other}", service.one), 404
    )


async def test_a_token_ends_with_its_time_and_when_it_is_taken_away(service: Service) -> None:
    assert (await service.get("/api/v1/figures", service.one)).status_code == 200
    service.now = NOON + timedelta(days=1)
    problem(await service.get("/api/v1/figures", service.one), 401)
    service.now = NOON
    remove_token(service.tokens, "terminal")
    problem(await service.get("/api/v1/figures", service.one), 401)
    assert (await service.get("/api/v1/figures")).status_code == 200
    again = make_token(service.tokens, "mes", NOON).text
    problem(await service.get("/api/v1/figures", service.all), 401)
    assert (await service.get("/api/v1/figures", again)).status_code == 200


WRONG = [
    ("/api/v1/parts", {"lin": "line-1"}, 422, "there is no parameter lin"),
    ("/api/v1/parts", {"limit": 0}, 422, "limit is '0'"),
    ("/api/v1/parts", {"limit": "many"}, 422, "limit is 'many'"),
    ("/api/v1/parts", {"from": "2026-03-02T12:00:00"}, 422, "timezone"),
    ("/api/v1/parts", {"from": "yesterday"}, 422, "from is 'yesterday'"),
    ("/api/v1/parts", {"from": "2026-03-02T12:00:00Z", "to": "2026-03-01T12:00:00Z"}, 422, "`to` lies before `from`"),
    ("/api/v1/parts", {"decision": "good"}, 422, "decision is 'good'"),
    ("/api/v1/parts", {"lot": "a\x00b"}, 422, "lot is"),
    ("/api/v1/parts", {"line": "../x"}, 422, "line.0 is '../x'"),
    ("/api/v1/parts", {"cursor": "bm9uZQ"}, 400, "the cursor is damaged"),
    ("/api/v1/yield", {"by": "moon"}, 422, "by is 'moon'"),
    ("/api/v1/parts/0", {}, 422, "number is '0'"),
    ("/api/v1/parts/99999999999999999999", {}, 422, "number is"),
    ("/api/v1/parts/4711", {}, 404, "there is no part 4711"),
    ("/api/v2/parts", {}, 404, "there is nothing at /api/v2/parts"),
]


@pytest.mark.parametrize(("path", "parameters", "status", "said"), WRONG)
async def test_what_is_wrong_is_said_in_a_sentence(
    service: Service, path: str, parameters: dict[str, Any], status: int, said: str
) -> None:
    assert said in problem(await service.get(path, **parameters), status)


async def test_a_picture_is_given_by_its_digest_to_whom_its_line_is_granted(service: Service, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    database = Database(url, create=True)
    store = EvidenceStore(str(tmp_path / "evidence"))
    kept, gone = store.put(b"a picture"), store.put(b"another")
    with database.writing() as connection:
        connection.execute(
            insert(EvidenceFileRow), [evidence_row("a", "line-2", kept), evidence_row("b", "line-1", gone)]
        )
    database.close()
    store.delete(gone)
    records = ReadOnlyRecords(url, answer_s=5.0)
    desk = Desk(Asking(records, 1), service.desk.doorkeeper, 5, UTC, lambda: NOON, store)
    transport = httpx.ASGITransport(api_of(desk))
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
        every, one = ({"Authorization": f"Bearer {token}"} for token in (service.all, service.one))
        found = await client.get(f"/api/v1/pictures/{kept}", headers=every)
        assert (found.content, found.headers["content-type"]) == (b"a picture", "image/png")
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "no picture" in problem(await client.get(f"/api/v1/pictures/{kept}", headers=one), 404)
        assert "no longer kept" in problem(await client.get(f"/api/v1/pictures/{gone}", headers=one), 404)
        assert "no picture" in problem(await client.get(f"/api/v1/pictures/{'0' * 64}", headers=every), 404)
        problem(await client.get("/api/v1/pictures/..%2f..%2fetc", headers=every), 404)
        problem(await client.get("/api/v1/pictures/x", headers=every), 422)
    desk.ask.close()
    records.close()


async def test_nothing_can_be_written(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.all}"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await service.client.request(method, "/api/v1/parts", headers=headers, json={"x": 1})
        assert "only reads" in problem(answer, 405)


async def test_a_cursor_of_another_token_shows_nothing_more(service: Service) -> None:
    theirs = (await service.get("/api/v1/parts", limit=1)).json()["next"]
    assert "another question" in problem(await service.get("/api/v1/parts", service.one, limit=1, cursor=theirs), 400)


async def test_too_many_questions_at_once_are_told_to_come_back(service: Service) -> None:
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_: object) -> None:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)

    held = [asyncio.create_task(service.ask(slow)) for _ in range(3)]
    await asyncio.sleep(0)
    answer = await service.get("/api/v1/figures")
    assert "too many questions" in problem(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert (await service.client.get("/livez")).status_code == 200
    go_on.set()
    await asyncio.gather(*held)
    assert (await service.get("/api/v1/figures")).status_code == 200


async def test_what_the_server_cannot_read_is_not_shown_to_strangers(service: Service, tmp_path: Path) -> None:
    service.tokens.write_text("{")
    said = problem(await service.get("/api/v1/figures"), 503)
    assert said == "the records cannot be read now; the server's log says why"

    async def broken(_: object) -> None:
        raise ZeroDivisionError("secret")

    desk = Desk(broken, service.desk.doorkeeper, 5, UTC, lambda: NOON)  # type: ignore[arg-type]
    make_token(tmp_path / "others.json", "mes", NOON)
    token = make_token(tmp_path / "more.json", "mes", NOON).text
    app = api_of(Desk(desk.ask, Doorkeeper(tmp_path / "more.json"), 5, UTC, lambda: NOON))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://ledger"
    ) as client:
        answer = await client.get("/api/v1/figures", headers={"Authorization": f"Bearer {token}"})
    assert "secret" not in problem(answer, 500)


NAMES = ("line", "lot", "from", "to", "limit", "cursor", "decision", "defect", "by", "of", "serial", "x")


def quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


@settings(max_examples=120, deadline=None)
@given(
    path=st.sampled_from(list(SCHEMA["paths"])),
    names=st.lists(st.sampled_from(NAMES), max_size=3),
    values=st.lists(st.text(max_size=40), min_size=3, max_size=3),
    number=st.text(min_size=1, max_size=20),
)  # fmt: skip
def test_hostile_requests_are_answered_or_refused_and_never_break_it(
    hostile: "Hostile", path: str, names: list[str], values: list[str], number: str
) -> None:
    query = "&".join(
        f"{name}={quote(value, safe='', errors='replace')}" for name, value in zip(names, values, strict=False)
    )
    answer = hostile.get(f"{path.replace('{number}', quote(number, safe='', errors='replace'))}?{query}")
    assert answer.status_code < 500
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


class Hostile:
    """A service that a test without a loop of its own may ask."""

    def __init__(self, url: str, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self.service = self._loop.run_until_complete(self._made(url, folder))

    async def _made(self, url: str, folder: Path) -> Service:
        return Service(url, folder)

    def get(self, url: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.service.all}"}
        return self._loop.run_until_complete(self.service.client.get(url, headers=headers))

    def close(self) -> None:
        self.service.ask.close()
        self.service.records.close()
        self._loop.close()


@pytest.fixture(scope="module")
def hostile(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    found = Hostile(url, tmp_path_factory.mktemp("hostile"))
    yield found
    found.close()


def test_the_checked_in_document_is_what_the_api_says() -> None:
    checked_in = Path(__file__).resolve().parents[2] / "schemas" / "ledger-api.json"
    assert checked_in.read_bytes() == openapi_json(), "run `neverblink schemas export`"


def test_the_file_of_tokens_holds_hashes_and_nobody_else_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    made = make_token(file, "mes", NOON, ("line-1",), days=30)
    assert made.text not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [(one.name, one.lines, one.until) for one in granted(file)] == [
        ("mes", ("line-1",), NOON + timedelta(days=30))
    ]
    with pytest.raises(TokenError, match="has no token 'other'; it has mes"):
        remove_token(file, "other")
    with pytest.raises(TokenError, match="cannot be granted"):
        make_token(file, "x\n", NOON)
    file.write_text('{"tokens": [{"name": "mes"}]}')
    with pytest.raises(TokenError, match="is no file of tokens"):
        granted(file)


def test_other_machines_are_reached_only_with_tls_or_by_permission() -> None:
    with pytest.raises(ValidationError, match="tokens would travel in clear"):
        LedgerApi(host="0.0.0.0")
    assert LedgerApi(host="0.0.0.0", allow_insecure=True).port == 8750
    assert LedgerApi(host="::1").tokens == Path("ledger-tokens.json")
    with pytest.raises(ValidationError, match="go together"):
        LedgerApi(cert_file=Path("c.pem"))


def test_an_error_of_the_api_says_its_status() -> None:
    assert (ApiError(403, "no").status, str(ApiError(403, "no"))) == (403, "no")
    assert datetime.now(UTC).tzinfo is UTC
