"""Files with a secret: there, readable by us, with something in them, and readable by nobody who need not."""

import stat
from collections.abc import Iterator
from pathlib import Path

from neverblink.surroundings.finding import At, Finding

_MOST_BYTES = 64 * 1024


def look_at_secret(at: At, path: Path, what: str, hint: str = "") -> Iterator[Finding]:
    """Yield what is wrong with a file whose first line is a secret; `what` names it, `hint` says what makes it."""
    yield from look_at_file(at, path, hint)
    if not path.is_file():
        return
    yield from look_at_mode(at, path)
    try:
        with path.open("rb") as file:
            first = file.read(_MOST_BYTES).split(b"\n", 1)[0].strip()
    except OSError as error:
        yield Finding(at, f"the file {path} cannot be read: {error.strerror}")
        return
    if not first:
        yield Finding(at, f"the first line of {path} is empty: it must be {what}")
    elif not _is_text(first):
        yield Finding(at, f"the first line of {path} is no text in UTF-8: write {what} there, and nothing else")


def look_at_file(at: At, path: Path, hint: str = "") -> Iterator[Finding]:
    """Yield why a path is no file that is there."""
    if path.is_dir():
        yield Finding(at, f"{path} is a folder and must be a file")
    elif not path.exists():
        yield Finding(at, f"the file {path} is not there{hint}")


def look_at_folder(at: At, path: Path, hint: str = "") -> Iterator[Finding]:
    """Yield why a path is no folder that is there."""
    if path.is_file():
        yield Finding(at, f"{path} is a file and must be a folder")
    elif not path.exists():
        yield Finding(at, f"the folder {path} is not there{hint}")


def look_at_mode(at: At, path: Path) -> Iterator[Finding]:
    """Yield that everybody on the machine may read a secret, or change it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007:
        yield Finding(
            at, f"everybody on this machine may open {path}, which is secret (mode {mode:o}): chmod 600 {path}"
        )


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
