"""Spans as tests look at them: from an OTLP receiver, by trace, and held to `schemas/telemetry.yaml`."""

import asyncio
import gzip
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from rigs.registered_telemetry import REGISTRY

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One span. `links` are (trace, span); instants are nanoseconds."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    service: str
    began: int
    ended: int
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    failed: bool

    def __getitem__(self, attribute: str) -> Any:
        return self.attributes[f"neverblink.{attribute}"]


class Spans:
    """All that was received, in no order."""

    def __init__(self) -> None:
        self.all: list[Seen] = []

    def of(self, trace: str) -> list[Seen]:
        """Return a trace's spans in the order of their beginnings."""
        return sorted((one for one in self.all if one.trace == trace), key=lambda one: one.began)

    def one(self, trace: str, name: str, **attributes: object) -> Seen:
        """Return the one span of this name in a trace, and with these attributes."""
        found = self.named(trace, name, **attributes)
        assert len(found) == 1, f"{len(found)} spans {name!r} in the trace, which has:\n{self.tree(trace)}"
        return found[0]

    def named(self, trace: str, name: str, **attributes: object) -> list[Seen]:
        """Return the spans of this name in a trace, and with these attributes."""
        wanted = {f"neverblink.{key}": value for key, value in attributes.items()}
        return [
            one
            for one in self.of(trace)
            if one.name == name and all(one.attributes.get(key) == value for key, value in wanted.items())
        ]

    def at(self, place: tuple[str, str]) -> Seen:
        """Return the span that a link leads to."""
        return next(one for one in self.all if (one.trace, one.id) == place)

    def ancestors(self, span: Seen) -> list[str]:
        """Return the names above a span, up to the trace's first."""
        by_id = {one.id: one for one in self.of(span.trace)}
        found: list[str] = []
        parent = span.parent
        while parent:
            assert parent in by_id, f"the parent of {found or span.name} was never received:\n{self.tree(span.trace)}"
            found.append(by_id[parent].name)
            parent = by_id[parent].parent
        return found

    def tree(self, trace: str) -> str:
        """Return a trace in lines, for whoever reads that a test failed."""
        spans = self.of(trace)
        known = {one.id for one in spans}

        def below(parent: str | None, depth: int) -> list[str]:
            own = [one for one in spans if (one.parent == parent if parent else one.parent not in known)]
            lines = []
            for one in own:
                lines.append(f"{'  ' * depth}{one.service}: {one.name} {dict(one.attributes)}")
                lines += below(one.id, depth + 1)
            return lines

        return "\n".join(below(None, 0))


class OtlpReceiver(Spans):
    """Takes traces over OTLP/HTTP on a loopback port, and forgets what else arrives."""

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    receiver.all += received(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="otlp-receiver", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def endpoint(self) -> str:
        """Return what `OTEL_EXPORTER_OTLP_ENDPOINT` is to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    async def until(self, there: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        """Wait until it has what a test waits for."""
        try:
            async with asyncio.timeout(within_s):
                while not there():  # noqa: ASYNC110 - it arrives in another thread
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise AssertionError(f"not received within {within_s:g} s: {what}") from error


def received(request: ExportTraceServiceRequest) -> list[Seen]:
    """Return the spans of an OTLP request."""
    return [
        _seen(span, {one.key: one.value.string_value for one in resource.resource.attributes})
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _seen(span: Any, about: Mapping[str, str]) -> Seen:
    return Seen(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=_KINDS[span.kind],
        service=about["service.name"].removeprefix("neverblink-"),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes={one.key: _value(one.value) for one in span.attributes},
        links=tuple((one.trace_id.hex(), one.span_id.hex()) for one in span.links),
        events=tuple(one.name for one in span.events),
        failed=span.status.code == 2,
    )


def faults_of(spans: list[Seen]) -> list[str]:
    """Return what of these spans is not as it is registered."""
    faults: dict[str, None] = {}
    for span in spans:
        registered = registered_as(span.name)
        if registered is None:
            faults[f"the span {span.name} is not in schemas/telemetry.yaml"] = None
            continue
        entry = REGISTRY["spans"][registered]
        always, also = set(entry["attributes"]), set(entry.get("also", ()))
        said = set(span.attributes)
        if span.kind != entry["kind"]:
            faults[f"{registered} is {span.kind}, and is registered as {entry['kind']}"] = None
        if missing := always - said:
            faults[f"{registered} is without {sorted(missing)}"] = None
        if more := said - always - also:
            faults[f"{registered} says {sorted(more)} besides"] = None
        if span.links and "links" not in entry:
            faults[f"{registered} has links"] = None
    return list(faults)


def registered_as(name: str) -> str | None:
    """Return under which name a span is registered."""
    for entry in REGISTRY["spans"]:
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", re.escape(entry)), name):
            return str(entry)
    return None


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
