"""Stylesheet, scripts and pictures: all from here, and those of others as their versions say."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(str(files("neverblink.console") / "static"))
_A_DAY_S = 24 * 3600


class OwnFiles(StaticFiles):
    """Files of the console; a browser keeps them for a day, and by their version as long as it likes."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file."""
        answer = await super().get_response(path, scope)
        lasting = b"v=" in scope.get("query_string", b"")
        age = f"max-age={365 * _A_DAY_S}, immutable" if lasting else f"max-age={_A_DAY_S}"
        answer.headers["Cache-Control"] = f"public, {age}"
        return answer


@cache
def version_of(name: str) -> str:
    """Return a few signs that change with a file's content, so that no browser goes on with an old one."""
    return sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


def address_of(name: str) -> str:
    """Return where a page finds a file."""
    return f"/static/{name}?v={version_of(name)}"
