"""What all reports share: one HTML file that needs nothing else, and the same figures as JSON beside it."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from neverblink.reports.figures import between, figure, of_threshold, percent, ratio, share, whole
from neverblink.storage.whole_file import write_whole
from neverblink.vision.errors import VisionError

_SUFFIXES = (".html", ".htm")


class ReportError(VisionError):
    """A report that cannot be written where it was asked for."""


class Written(NamedTuple):
    """Where a report went."""

    html: Path
    json: Path


def check_place(path: Path) -> Written:
    """Return where a report for `path` goes, its folder made; so that a job fails before its work, not after.

    Raises ReportError.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ReportError(f"a report is an HTML file, so its name ends in .html, not as {path.name!r} does")
    if path.is_dir():
        raise ReportError(f"the report {path} cannot be written: there is a folder of that name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ReportError(f"the report {path} cannot be written: {error.strerror}") from error
    return Written(path, path.with_suffix(".json"))


def write_page(path: Path, html: str, values: dict[str, object]) -> Written:
    """Write a page to `path` and its figures as JSON beside it, each whole or not at all. Raises ReportError."""
    written = check_place(path)
    figures = orjson.dumps(values, option=orjson.OPT_INDENT_2)
    try:
        for target, content in ((written.html, html.encode()), (written.json, figures + b"\n")):
            write_whole(target, content)
    except OSError as error:
        raise ReportError(f"the report {path} cannot be written: {error.strerror}") from error
    return written


def template(name: str) -> Template:
    """Return a page's template. Whatever it is given is escaped, and what it is not given is an error."""
    environment = Environment(
        loader=PackageLoader("neverblink.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {one.__name__: one for one in (between, figure, of_threshold, percent, ratio, share, whole)}
    return environment.get_template(name)
