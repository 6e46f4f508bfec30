"""How a file that holds a secret is read: its first line, and nothing else of it."""

from pathlib import Path


def first_line(file: Path) -> str:
    """Return the first line without spaces around it.

    Raises OSError or UnicodeDecodeError where it cannot be read as UTF-8, IndexError where the file is empty: whoever
    asks knows what the secret is for.
    """
    return file.read_text(encoding="utf-8").splitlines()[0].strip()
