"""The fault table as Markdown, and its place in a page."""

import re
from collections.abc import Iterable, Mapping

from rigs.faults.pairs import PAIRS, Pair
from rigs.faults.trial import Seen

BEGIN = "<!-- faults: written by bench/line/faults.py -->"
END = "<!-- faults: end -->"
IN_TESTS = "`tests/chaos/test_fault_pairs.py::test_twelve_pairs_say_so_heal_and_stop`"
NOT_RUN = "not run yet"
_HEAD = (
    "| service | depends on | fault | says, after s | not ready after s | works meanwhile | heals after s "
    "| lines a minute | SIGTERM in it: s, code | proof |"
)
_LONGEST = 150
_PLACE = re.compile(r"127\.0\.0\.1(:|', (port=)?)\d+")
_OF_THIS_RUN = re.compile(r"(?<=/)(\d{8}T\d{6}|test_[0-9a-f]{32})")
_SINCE = re.compile(r" ?\(since [^)]*\)")


def rows_of(seen: Iterable[Seen]) -> dict[str, str]:
    """Return a row for each pair that was tried, by the pair's name."""
    return {one.pair.name: _row(one) for one in seen}


def table(rows: Mapping[str, str]) -> list[str]:
    """Return the table in the pairs' order; a pair without a row is one that was not run yet."""
    rule = "|" + "---|" * (_HEAD.count("|") - 1)
    return [_HEAD, rule, *(rows.get(pair.name, _not_run(pair)) for pair in PAIRS)]


def rows_in(page: str) -> dict[str, str]:
    """Return the rows that a page has, by their pairs' names."""
    _, _, rest = page.partition(BEGIN)
    lines = rest.partition(END)[0].splitlines()
    known = {_key(pair): pair.name for pair in PAIRS}
    return {known[key]: line for line in lines for key in known if line.startswith(key)}


def written_into(page: str, seen: Iterable[Seen]) -> str:
    """Return the page with these rows in its table; those of pairs that were not tried stay. Raises ValueError."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    rows = rows_in(page) | rows_of(seen)
    return "\n".join([before + BEGIN, "", *table(rows), "", END + after])


def _key(pair: Pair) -> str:
    return f"| {pair.service} | {pair.on} | {pair.fault} |"


def _not_run(pair: Pair) -> str:
    return f"{_key(pair)} {NOT_RUN} | – | – | – | – | – | {_proof(pair)} |"


def _proof(pair: Pair) -> str:
    return IN_TESTS if pair.in_tests else "bench"


def _row(one: Seen) -> str:
    said = _SINCE.sub("", _OF_THIS_RUN.sub("…", _PLACE.sub("HOST:PORT", one.said)))
    said = said.replace("|", "/").replace("\n", " ").replace("***", "…")  # no row of ours is in bold letters
    said = said if len(said) <= _LONGEST else said[: _LONGEST - 1].rstrip() + "…"
    meanwhile = "yes" if one.went_on else "no"
    unready = "stays ready" if one.unready_s is None else f"{one.unready_s:.1f}"
    if one.unready_s is None and one.pair.stays_ready and not one.went_on:
        unready += f": {one.pair.stays_ready}"
    cells = [
        f"{said} ({one.said_s:.1f})" if one.said_s is not None else "nothing",
        unready,
        meanwhile,
        "**no**" if one.healed_s is None else f"{one.healed_s:.1f}",
        f"{one.lines_per_minute:.0f}",
        f"{one.stop_s:.1f}, {'**killed**' if one.stop_code is None else one.stop_code}",
        _proof(one.pair),
    ]
    return f"{_key(one.pair)} " + " | ".join(cells) + " |"
