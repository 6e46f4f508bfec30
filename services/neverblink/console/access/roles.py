"""What an account may do, by line. Each role may do all that those before it may."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Self

from neverblink.console.access.said import SaidError

ALL_LINES = "*"


class RoleError(SaidError):
    """Roles that nobody can have; the message says which, and what would do."""


class Role(IntEnum):
    """From seeing to administering."""

    VIEWER = 1
    OPERATOR = 2
    REVIEWER = 3
    ENGINEER = 4
    ADMINISTRATOR = 5

    @property
    def word(self) -> str:
        """Return the name as people and databases write it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Self:
        """Return the role of that name. Raises RoleError."""
        try:
            return cls[word.upper()]
        except KeyError as error:
            known = ", ".join(role.word for role in cls)
            raise RoleError("there is no role %(word)s; there are %(known)s", word=word[:40], known=known) from error


class Scope(StrEnum):
    """What the bearer of a token may read."""

    WALL = "wall"
    PARTS = "parts"
    AUDIT = "audit"


class Roles:
    """The roles of one account: of all lines, or line by line."""

    def __init__(self, held: Mapping[str, Role]) -> None:
        """Take roles by line, `*` for all. Raises RoleError for none, and for an administrator of a line."""
        if not held:
            raise RoleError("an account needs a role: on all lines or on some")
        for line, role in held.items():
            if role is Role.ADMINISTRATOR and line != ALL_LINES:
                raise RoleError("an administrator is one of the whole plant, not of the line %(line)s", line=line)
        self.held = dict(held)

    @classmethod
    def read(cls, words: Mapping[str, str]) -> Self:
        """Return the roles that a database holds as words. Raises RoleError."""
        return cls({line: Role.of(word) for line, word in words.items()})

    def words(self) -> dict[str, str]:
        """Return what a database holds."""
        return {line: role.word for line, role in self.held.items()}

    @property
    def highest(self) -> Role:
        """Return the highest role on any line."""
        return max(self.held.values())

    def on(self, line: str) -> Role | None:
        """Return the role on a line: its own, or that of all lines where it is higher; None for no role."""
        found = [role for place, role in self.held.items() if place in (line, ALL_LINES)]
        return max(found, default=None)

    def lines(self) -> tuple[str, ...] | None:
        """Return the lines that may be seen, None for all."""
        return None if ALL_LINES in self.held else tuple(sorted(self.held))
