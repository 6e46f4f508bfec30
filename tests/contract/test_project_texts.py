"""What the project's files say: no package registry is named, every link of the documentation leads somewhere."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Put together here, so that this file names none either.
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
            ("maven", "org"), ("repo", "maven", "apache", "org"), ("crates", "io"), ("proxy", "golang", "org"),
            ("deb", "debian", "org"), ("download", "pytorch", "org"), ("docker", "io"), ("ghcr", "io"), ("quay", "io"),
            ("rubygems", "org"), ("conda", "anaconda", "org"), ("conda-forge", "org"), ("nuget", "org"),
        )
    )
)  # fmt: skip
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def files() -> list[Path]:
    """Return what belongs to the project: what git tracks or would, without what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as they are made where Markdown is shown."""
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in HEADING.findall(FENCE.sub("", text))
    }


def test_no_file_names_a_package_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if REGISTRIES.search(line)
    ]
    assert not found, "\n".join(found)


def test_a_registry_would_be_found() -> None:
    assert REGISTRIES.search("--index-url https://" + "pypi" + ".org/simple")


def test_every_link_of_the_documentation_leads_to_a_file_and_a_heading() -> None:
    broken = []
    for path, text in texts():
        if path.suffix != ".md":
            continue
        for link in LINK.findall(FENCE.sub("", text)):
            name, _, anchor = link.partition("#")
            if "://" in name or name.startswith("mailto:"):
                continue
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                broken.append(f"{path.relative_to(ROOT)}: there is no {name}")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{path.relative_to(ROOT)}: {name} has no heading #{anchor}")
    assert not broken, "\n".join(broken)
