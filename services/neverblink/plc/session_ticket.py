"""The token of our open session, kept in a file, so that a session which a crash has left behind can be ended.

Small PLCs have three to ten sessions, and keep an abandoned one until its time-out: until then they let nobody in. Who
has the token can take the session over (OPC 10000-4, section 6.7), from our certificate only where the policy is not
None; so the file is readable by us alone, and its content is never logged.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from neverblink.storage.whole_file import write_whole

_log = logging.getLogger("neverblink.plc")


class SessionTicket:
    """Where the OPC UA library writes the token of a new session (`fresh`), and where it is kept (`kept`)."""

    def __init__(self, stem: Path) -> None:
        self.fresh = stem.with_suffix(".new")
        self.kept = stem.with_suffix(".session")

    def keep(self) -> None:
        """Take that the session of `fresh` is open: it is the one to end after a crash."""
        with contextlib.suppress(OSError):
            self.fresh.replace(self.kept)

    def renew(self) -> bool:
        """Make the kept token young again, and return whether there is one.

        The library lets a token rest that was written longer ago than the session's time-out, and a session that was
        used until the crash is as old as the bridge.
        """
        try:
            state = json.loads(self.kept.read_text(encoding="utf-8"))
            content = json.dumps({**state, "saved_at": time.time()}).encode()
            # Not forced to disk: other lines' verdicts must not wait for that.
            write_whole(self.kept, content, mode=0o600, forced=False)
        except (OSError, ValueError, TypeError):
            return False
        return True

    def forget(self) -> None:
        """Take that no session of ours is open."""
        self.fresh.unlink(missing_ok=True)
        self.kept.unlink(missing_ok=True)


@contextlib.contextmanager
def session_ticket(folder: Path | None, name: str) -> Iterator[SessionTicket | None]:
    """Give the ticket of the session `name`, None without a folder or while another process has it."""
    with contextlib.ExitStack() as stack:
        yield None if folder is None else _locked(folder, name, stack)


def _locked(folder: Path, name: str, stack: contextlib.ExitStack) -> SessionTicket | None:
    stem = folder / re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(stem.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        stack.callback(os.close, descriptor)
        # The lock ends with the process, however it ends; the session of one that lives must not be taken.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ticket = SessionTicket(stem)
        ticket.fresh.unlink(missing_ok=True)
    except BlockingIOError:
        return None
    except OSError as error:
        _log.warning(
            f"the session folder {folder} cannot be used ({error.strerror}): sessions are not ended after a crash"
        )
        return None
    return ticket
