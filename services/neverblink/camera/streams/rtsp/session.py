"""The conversation with a network camera: what it offers, one track of it, and the packets that follow."""

import re
import time
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from neverblink.camera.picture import SourceError
from neverblink.camera.streams.authorization import Credentials
from neverblink.camera.streams.wire import Wire, WireError
from neverblink.events import Reason
from neverblink.plant import RtspSource
from neverblink.shown import without_secrets

_LARGEST_BODY = 64 * 1024
# A camera forgets us after a minute if it says nothing else, and wants to hear of us before.
_SESSION_S = 60.0
_DATA_CHANNEL = 0


@dataclass(frozen=True, slots=True)
class Track:
    """A video track of the camera's offer: codec as RTP names it, rate of its clock, its parameters."""

    payload_type: int
    codec: str
    clock_hz: int
    control: str
    parameters: dict[str, str] = field(default_factory=dict)


class RtspSession:
    """One session with one track, from its first request to its end. Raises SourceError when it cannot begin.

    No message names the password.
    """

    def __init__(self, settings: RtspSource, credentials: Credentials | None) -> None:
        self._name = without_secrets(settings.url)
        self._silent_s = settings.silent_after_s
        self._credentials = credentials
        self._count = 0
        self._session = ""
        try:
            self._wire = Wire.to(settings)
        except WireError as error:
            raise self._refused(str(error)) from error
        try:
            self._begin(urlsplit(settings.url))
        except BaseException:
            self._wire.close()
            raise

    def _begin(self, parts: SplitResult) -> None:
        url = parts.geturl()
        headers, body = self._ask("DESCRIBE", url, "Accept: application/sdp")
        base = (headers.get("content-base") or headers.get("content-location") or [url])[0]
        self.track = video_track(body)
        if self.track is None:
            raise self._refused("it offers no video")
        track_url = url if self.track.control in {"", "*"} else urljoin(base.rstrip("/") + "/", self.track.control)
        headers, _ = self._ask("SETUP", track_url, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        session, _, rest = headers.get("session", [""])[0].partition(";")
        stated = re.search(r"timeout\s*=\s*(\d+)", rest)
        self._session = session.strip()
        self._again_every_s = max(1.0, (float(stated[1]) if stated else _SESSION_S) / 2)
        channel = re.search(r"interleaved\s*=\s*(\d+)", headers.get("transport", [""])[0])
        self._channel = int(channel[1]) if channel else _DATA_CHANNEL
        self._url = base if self.track.control not in {"", "*"} else url
        self._ask("PLAY", self._url, "Range: npt=0.000-")
        self._again_s = time.monotonic() + self._again_every_s

    def packet(self, timeout_s: float) -> tuple[bytes, bool] | None:
        """Return the track's next RTP packet, and whether it had to be waited for; None when none came in time.

        Raises SourceError when the camera is gone.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                if time.monotonic() >= self._again_s:
                    self._again_s = time.monotonic() + self._again_every_s
                    self._send("GET_PARAMETER", self._url)
                if not self._wire.has(4, deadline):
                    return None
                head = self._wire.peek(4)
                if head[:1] != b"$":
                    self._skip_message(deadline)
                    continue
                size = int.from_bytes(head[2:], "big")
                if not self._wire.has(4 + size, deadline):
                    return None
                data = self._wire.take(4 + size)[4:]
                waited, self._wire.waited = self._wire.waited, False
                if head[1] == self._channel:
                    return data, waited
                self._wire.waited = waited
        except WireError as error:
            raise SourceError(Reason.NO_IMAGE, f"{self._name} sends no more pictures: {error}") from error

    def close(self) -> None:
        """Say goodbye and hang up; a camera that is gone need not answer."""
        try:
            self._send("TEARDOWN", self._url)
        except WireError:
            pass
        finally:
            self._wire.close()

    def _ask(self, method: str, url: str, *headers: str) -> tuple[dict[str, list[str]], str]:
        """Send a request and return the answer's headers and body. Raises SourceError."""
        for attempt in range(2):
            try:
                self._send(method, url, *headers)
                status, answer, body = self._answer()
            except WireError as error:
                raise self._refused(f"at {method}, {error}") from error
            if status == 401 and self._credentials is not None and attempt == 0:
                if self._credentials.challenged(answer.get("www-authenticate", [])):
                    continue
                raise self._refused("it wants a way of signing in that is neither Basic nor Digest with MD5")
            if status == 401:
                raise self._refused("it wants another username and password")
            if status == 461:
                raise self._refused("it does not send over TCP")
            if not 200 <= status < 300:
                raise self._refused(f"it answers {method} with {status}")
            return answer, body
        raise AssertionError("unreachable")

    def _send(self, method: str, url: str, *headers: str) -> None:
        self._count += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._count}", "User-Agent: neverblink", *headers]
        if self._session:
            lines.append(f"Session: {self._session}")
        signed = None if self._credentials is None else self._credentials.header(method, url)
        if signed is not None:
            lines.append(f"Authorization: {signed}")
        self._wire.send(("\r\n".join(lines) + "\r\n\r\n").encode(), self._silent_s)

    def _answer(self) -> tuple[int, dict[str, list[str]], str]:
        deadline = time.monotonic() + self._silent_s
        while True:
            # Packets may come before PLAY is answered; they are the backlog.
            while self._wire.has(4, deadline) and self._wire.peek(1) == b"$":
                size = int.from_bytes(self._wire.peek(4)[2:], "big")
                if not self._wire.has(4 + size, deadline):
                    break
                self._wire.take(4 + size)
            found = self._wire.head(deadline)
            if found is None:
                raise WireError(f"nothing came for {self._silent_s:g} s")
            first, headers = found
            body = self._body(headers, deadline)
            status = re.match(r"RTSP/\d\.\d\s+(\d{3})", first)
            if status is None:
                raise WireError(f"it answers {first[:60]!r}")
            if headers.get("cseq", [str(self._count)])[0] == str(self._count):
                return int(status[1]), headers, body

    def _skip_message(self, deadline_s: float) -> None:
        """Read past an answer to our sign of life, or a request of the camera's."""
        if not self._wire.peek(4).isalpha():
            raise WireError(f"it sends {self._wire.peek(4)!r} where a packet should begin")
        found = self._wire.head(max(deadline_s, time.monotonic() + 1.0))
        if found is None:
            raise WireError("a message of it has no end")
        self._body(found[1], deadline_s)

    def _body(self, headers: dict[str, list[str]], deadline_s: float) -> str:
        length = headers.get("content-length", ["0"])[0]
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            raise WireError(f"it announces a body of {length[:20]} bytes")
        if not self._wire.has(int(length), deadline_s):
            raise WireError("its answer has no end")
        return self._wire.take(int(length)).decode("utf-8", "replace")

    def _refused(self, why: str) -> SourceError:
        return SourceError(Reason.NO_IMAGE, f"{self._name} cannot be opened: {why}")


def video_track(sdp: str) -> Track | None:
    """Return the first video track of a session description (RFC 8866), None when there is none."""
    payload_type, codec, clock, control = -1, "", 90_000, ""
    parameters: dict[str, str] = {}
    for line in sdp.splitlines():
        kind, _, value = line.strip().partition("=")
        if kind == "m":
            if payload_type >= 0:
                break
            words = value.split()
            if len(words) >= 4 and words[0] == "video" and words[3].isdecimal():
                payload_type = int(words[3])
                codec = "JPEG" if payload_type == 26 else ""
        elif kind == "a" and payload_type >= 0:
            name, _, rest = value.partition(":")
            if name == "control":
                control = rest.strip()
            elif name == "rtpmap" and rest.split()[:1] == [str(payload_type)]:
                codec, _, rate = rest.partition(" ")[2].strip().partition("/")
                clock = int(rate.partition("/")[0]) if rate.partition("/")[0].isdecimal() else clock
            elif name == "fmtp" and rest.split()[:1] == [str(payload_type)]:
                for item in rest.partition(" ")[2].split(";"):
                    key, _, word = item.partition("=")
                    parameters[key.strip().lower()] = word.strip()
    return Track(payload_type, codec.upper(), max(1, clock), control, parameters) if payload_type >= 0 else None
