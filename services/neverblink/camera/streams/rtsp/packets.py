"""RTP packets (RFC 3550) to whole pictures as they were coded, and what is missing between them. Pure."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_HALF = 1 << 15
_LARGEST_PICTURE = 64 * 1024 * 1024


class PacketError(ValueError):
    """A packet that is not what the track promises; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet of the track."""

    sequence: int
    timestamp: int
    source: int
    is_last: bool
    payload: bytes
    waited_for: bool = True

    @classmethod
    def parsed(cls, data: bytes, payload_type: int, *, waited_for: bool = True) -> "Packet | None":
        """Return the packet, None for one of another payload type. Raises PacketError."""
        if len(data) < 12 or data[0] >> 6 != 2:
            raise PacketError(f"{len(data)} bytes that begin with {data[:2]!r} are no RTP packet")
        if data[1] & 0x7F != payload_type:
            return None
        sequence, timestamp, source = struct.unpack_from(">HII", data, 2)
        begin = 12 + 4 * (data[0] & 15)
        if data[0] & 0x10 and len(data) >= begin + 4:
            begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
        end = len(data) - (data[-1] if data[0] & 0x20 else 0)
        if begin > end:
            raise PacketError("an RTP packet's headers are longer than the packet")
        return cls(sequence, timestamp, source, bool(data[1] & 0x80), data[begin:end], waited_for)


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A picture's bytes as the decoder takes them, its time in ticks of the track's clock, and what is wrong with it.

    `damage` is empty for a picture whose packets all arrived. `arrived_s` is when its last did, by the caller's clock;
    `waited_for` whether the camera had sent nothing more before.
    """

    ticks: int
    data: bytes
    arrived_s: float
    waited_for: bool
    damage: str = ""


class Payload(Protocol):
    """How one codec's pictures are cut into packets."""

    def add(self, payload: bytes) -> None:
        """Take the next packet's payload of the picture. Raises PacketError."""
        ...

    def begins(self, payload: bytes) -> bool:
        """Say whether a picture can begin with this payload."""
        ...

    def take(self) -> bytes:
        """Return the picture of what was added, and begin anew. Raises PacketError."""
        ...


class PictureAssembler:
    """Puts pictures together out of a track's packets, and tells those of which a packet is missing.

    A picture ends with the packet that is marked as its last, or where the next one's time begins. Where packets are
    missing between two whole pictures, at least one picture was lost: one without bytes stands for it, because those
    after it are coded on top.
    """

    def __init__(self, payload: Payload, clock: Callable[[], float]) -> None:
        self._payload = payload
        self._clock = clock
        self._last: Packet | None = None
        self._ticks = 0  # of the newest packet, without the wraps of its 32 bits
        self._told = -1
        self._is_open = False
        self._open_ticks = 0
        self._damage = ""
        self._waited_for = False
        self._size = 0

    def push(self, packet: Packet) -> list[CodedPicture]:
        """Take the next packet; return the pictures that are complete or lost by it, the oldest first."""
        is_first = self._last is None
        missing = self._missing_before(packet)
        if missing < 0:  # sent twice, or out of order, which TCP does not do
            return []
        found = []
        is_same = self._is_open and self._ticks == self._open_ticks
        begins = self._payload.begins(packet.payload)
        if self._is_open:
            if missing:
                self._damage = self._damage or _lost(missing)
            if not is_same:
                found.append(self._closed())
        elif missing and begins:
            sentence = f"{_lost(missing)} between two pictures"
            found.append(self._told_as(self._ticks - 1, b"", waited_for=False, damage=sentence))
        if not is_same:
            self._is_open, self._open_ticks = True, self._ticks
            if missing and not begins:
                self._damage = _lost(missing)
            elif is_first and not begins:
                self._damage = "the picture began before the session"
        self._add(packet)
        if packet.is_last:
            found.append(self._closed())
        return found

    def _missing_before(self, packet: Packet) -> int:
        """Return how many packets are missing, less than 0 for one that was seen; the time goes on with it."""
        last = self._last
        missing = 0
        if last is not None and packet.source == last.source:
            missing = (packet.sequence - last.sequence - 1) & 0xFFFF
            if missing >= _HALF:
                return -1
            self._ticks += ((packet.timestamp - last.timestamp + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
        elif last is not None:  # the camera began anew
            missing = 1
            self._ticks += 1
        self._last = packet
        return missing

    def _add(self, packet: Packet) -> None:
        self._waited_for = self._waited_for or packet.waited_for
        self._size += len(packet.payload)
        if self._size > _LARGEST_PICTURE:
            self._damage = self._damage or f"the picture has more than {_LARGEST_PICTURE} bytes"
        if not self._damage:
            try:
                self._payload.add(packet.payload)
            except PacketError as error:
                self._damage = str(error)

    def _closed(self) -> CodedPicture:
        data, damage = b"", self._damage
        try:
            data = self._payload.take()
        except PacketError as error:
            damage = damage or str(error)
        waited_for, ticks = self._waited_for, self._open_ticks
        self._is_open, self._damage, self._waited_for, self._size = False, "", False, 0
        return self._told_as(ticks, b"" if damage else data, waited_for=waited_for, damage=damage)

    def _told_as(self, ticks: int, data: bytes, *, waited_for: bool, damage: str) -> CodedPicture:
        # Where pictures are reordered, time goes back and forth; none may have another's.
        self._told = ticks if ticks != self._told else ticks + 1
        return CodedPicture(self._told, data, self._clock(), waited_for, damage)


def _lost(missing: int) -> str:
    return f"{missing} packet{'s' if missing > 1 else ''} of the camera did not arrive"
