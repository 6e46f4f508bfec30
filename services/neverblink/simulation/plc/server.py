"""What makes the simulated PLC's server as strict as a real one: types, access, users, certificates, sessions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncua.ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AttributeService
from asyncua.server.server import Server

from neverblink.plc.certificates import CertificateError, as_der, read_certificate
from neverblink.plc.contract import TellStatus

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

# A free port may be taken again by the time the server restarts on it; give the old socket time to go.
REBIND_TRIES = 20
_ADMIN = User(role=UserRole.Admin)


class StrictAttributes(AttributeService):
    """Refuses what a real PLC refuses, with the status that it would give."""

    def __init__(self, space: Any, refuse_timestamps: bool) -> None:
        super().__init__(space)
        self._refuse_timestamps = refuse_timestamps
        self.verdicts: set[Any] = set()
        self.absent = False
        """Whether the program's nodes are away, as while it is being loaded."""
        self.failing = 0
        self.failing_status: int = ua.StatusCodes.BadOutOfService
        self.on_write: Callable[[Any], None] = lambda node_id: None

    def read(self, params: Any) -> list[Any]:
        """Read for a client; while a program is being loaded its nodes do not exist."""
        found = list(super().read(params))
        unknown = ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)
        return [
            ua.DataValue(StatusCode=unknown) if self.absent and wanted.NodeId.NamespaceIndex else value
            for wanted, value in zip(params.NodesToRead, found, strict=True)
        ]

    async def write(self, params: Any, user: User = _ADMIN) -> list[Any]:
        """Write for a client under the rules; the server's own writes (its status, its clock) go through."""
        if user.role == UserRole.Admin:
            return list(await super().write(params, user))
        results: list[Any] = []
        for item in params.NodesToWrite:
            status = self._refusal(item)
            if status is None:
                value = ua.DataValue(
                    item.Value.Value,
                    SourceTimestamp=datetime.now(UTC),
                    ServerTimestamp=datetime.now(UTC),
                )
                results.append(await self._aspace.write_attribute_value(item.NodeId, item.AttributeId, value))
                self.on_write(item.NodeId)
            else:
                results.append(ua.StatusCode(status))
        return results

    def _refusal(self, item: Any) -> int | None:
        codes = ua.StatusCodes
        if self.absent:
            return int(codes.BadNodeIdUnknown)
        present = self._aspace.read_attribute_value(item.NodeId, ua.AttributeIds.Value)
        if present.Value is None or present.Value.Value is None:
            return int(codes.BadNodeIdUnknown)
        access: Any = self._aspace.read_attribute_value(item.NodeId, ua.AttributeIds.AccessLevel).Value
        if item.AttributeId != ua.AttributeIds.Value or not access.Value & 1 << ua.AccessLevel.CurrentWrite:
            return int(codes.BadNotWritable)
        if self._refuse_timestamps and (item.Value.SourceTimestamp or item.Value.ServerTimestamp):
            return int(codes.BadWriteNotSupported)
        given, kept = item.Value.Value, present.Value
        if (
            given is None
            or given.VariantType != kept.VariantType
            or isinstance(given.Value, list) != isinstance(kept.Value, list)
        ):
            return int(codes.BadTypeMismatch)
        return self.failure() if item.NodeId in self.verdicts else None

    def failure(self) -> int | None:
        """Return the status of a write or call that is to fail, and count it."""
        if not self.failing:
            return None
        self.failing -= 1
        return self.failing_status


class Users:
    """One user by name and password, or everybody when none is set; with `signed`, over a signed channel only."""

    def __init__(self, username: str | None, password: str | None, *, signed: bool) -> None:
        self._username, self._password, self._signed = username, password, signed

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        """Return the user, None for one that is not let in."""
        if self._username is not None and (username, password) != (self._username, self._password):
            return None
        if self._signed and certificate is None:
            return None  # policy None is open for the question which endpoints there are, and for nothing else
        return User(role=UserRole.User, name=username or "anonymous")


async def listen(server: Server) -> None:
    """Start the server; its old port may need a moment to be free again. Raises OSError."""
    for attempt in range(REBIND_TRIES):
        try:
            await server.start()
        except OSError:
            if attempt == REBIND_TRIES - 1:
                raise
            await asyncio.sleep(0.05)
        else:
            return


def trust_only(server: Server, client_certificate: Path) -> None:
    """Let in who shows this certificate. It is read at each session: a person may put it there later."""

    async def check(shown: Any, application: Any) -> None:
        try:
            trusted = as_der(read_certificate(client_certificate)) == as_der(shown)
        except CertificateError:
            trusted = False
        if not trusted:
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

    server.set_certificate_validator(check)


Tell = Callable[[int, int, int, int], TellStatus]


def method_callback(
    types: Sequence[Any], tell: Tell, before: Callable[[], Awaitable[int | None]]
) -> Callable[..., Any]:
    """Return what the server runs for a call: the checks of a real server, then the PLC's program."""

    async def called(parent: Any, *given: Any) -> Any:
        codes = ua.StatusCodes
        if len(given) < len(types):
            return ua.StatusCode(codes.BadArgumentsMissing)
        if len(given) > len(types):
            return ua.StatusCode(codes.BadTooManyArguments)
        results = [
            ua.StatusCode(codes.Good if found.VariantType == wanted else codes.BadTypeMismatch)
            for found, wanted in zip(given, types, strict=True)
        ]
        if not all(result.is_good() for result in results):
            refused = ua.StatusCode(codes.BadInvalidArgument)
            return ua.CallMethodResult(StatusCode_=refused, InputArgumentResults=results)
        refusal = await before()
        if refusal is not None:
            return ua.StatusCode(refusal)
        status = tell(*(found.Value for found in given))
        return [ua.Variant(int(status), ua.VariantType.UInt16)]

    return called
