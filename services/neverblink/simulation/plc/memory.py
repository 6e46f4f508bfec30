"""The simulated PLC's memory: its nodes and their values, and the OPC UA server that shows them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import asyncua.ua
from asyncua.server.server import Server

from neverblink.plc.contract import (
    CONTRACT_VERSION,
    GATE_RING,
    LANE,
    PROFILES,
    Confirm,
    GateCode,
    Method,
    Writer,
    element_name,
    element_of,
    node,
)
from neverblink.plc.word import encode_gate
from neverblink.service_life import building
from neverblink.simulation.plc.gate import BeltPart
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.part_names import names_of
from neverblink.simulation.plc.server import StrictAttributes, Users, listen, method_callback, trust_only

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

_VARIANTS = {
    "Boolean": ua.VariantType.Boolean,
    "UInt16": ua.VariantType.UInt16,
    "UInt32": ua.VariantType.UInt32,
    "Double": ua.VariantType.Double,
    "String": ua.VariantType.String,
}
_IDENTITY = "Identity."
_CONVEYOR = {"Conveyor.Run": "Boolean", "Conveyor.Parts": "UInt32", "Conveyor.Rate": "Double"}


@dataclass(frozen=True, slots=True)
class Program:
    """What the server asks of the PLC's program while a client is waiting.

    `written` is called when a node that the program acts on was written. `called` takes a method's arguments and
    returns its outputs, `before_call` waits as long as the program does, and says with which status a call fails.
    """

    written: Callable[[], None]
    called: Callable[..., Any]
    before_call: Callable[[], Awaitable[int | None]]


class PlcMemory:
    """One line's nodes. What is put while no server runs is shown by the next one."""

    def __init__(self, line: SimulatedLine, program: Program) -> None:
        self.line = line
        self._program = program
        self._profile = PROFILES[line.profile]
        self._port = line.port
        self._server: Any = None
        self._namespace = 0
        self._ids: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self.strict: StrictAttributes | None = None

    @property
    def endpoint(self) -> str:
        """Return where the server listens."""
        return f"opc.tcp://{self.line.host}:{self._port}/neverblink"

    @property
    def is_served(self) -> bool:
        """Return whether a server shows it."""
        return self._server is not None and not (self.strict is not None and self.strict.absent)

    def reset(self, epoch: int) -> None:
        """Set the PLC's own nodes to what they are when an epoch begins; `show` tells a running server."""
        self._values = {
            entry.name: [0] * entry.length if entry.length else (False if entry.type == "Boolean" else 0)
            for entry in (*self._profile.nodes, *self._profile.optional)
            if entry.writer is Writer.PLC
        }
        self._values |= {
            "ContractVersion": CONTRACT_VERSION,
            "Epoch": epoch,
            **({} if self._profile.silence_passes else {"SlotCount": self.line.verdict_slots}),
            "LeadMs": round(self.line.timing.lead_s * 1000),
            **{name: 0 if kind == "UInt32" else "" for name, (_, kind) in self._identity_nodes().items()},
        }

    def _identity_nodes(self) -> dict[str, tuple[str, str]]:
        """Return node id and type of what says whose part it is, by our names for them."""
        nodes = self.line.identity
        if nodes is None:
            return {}
        found = {f"{_IDENTITY}{field}": (node_id, "String") for field, node_id in nodes.by_field.items()}
        return found | ({} if nodes.number is None else {f"{_IDENTITY}number": (nodes.number, "UInt32")})

    async def put_identity(self, epoch: int, number: int) -> None:
        """Say whose part it is that is about to be triggered; the number last."""
        if self.line.identity is not None:
            challenge = self.line.challenges.get(number, "")
            for field, text in names_of(self.line.identity, epoch, number, challenge).items():
                await self.put(f"{_IDENTITY}{field}", text)
            await self.put(f"{_IDENTITY}number", number)

    async def show(self) -> None:
        """Show the PLC's own nodes as `reset` has set them, and clear the bridge's words."""
        for name, value in self._values.items():
            await self.put(name, value)
        for name in self._elements():
            await self.put(name, 0)

    def _elements(self) -> Iterator[str]:
        """Yield the names of the profile's elements that are nodes of their own."""
        yield from self._verdicts()
        if self._profile.lane is not None and self.line.lane_node is not None:
            for index in range(self.line.verdict_slots):
                yield element_name(self._profile.lane, index)

    def _verdicts(self) -> Iterator[str]:
        if self._profile.each is not None:
            for index in range(self._profile.count or self.line.verdict_slots):
                yield element_name(self._profile.each, index)

    async def serve(self, conveyor: Mapping[str, bool | float]) -> None:
        """Serve the nodes; `conveyor` has the values of its own ones. Raises OSError when the port is taken."""
        users = Users(self.line.username, self.line.password, signed=self.line.certificate is not None)
        server = Server(user_manager=users)  # type: ignore[arg-type]
        server.disable_clock()
        with building():
            await server.init()
        server.set_endpoint(self.endpoint)
        server.set_server_name(f"neverblink simulated PLC {self.line.name}")
        server.set_security_policy(
            [ua.SecurityPolicyType.NoSecurity]
            if self.line.certificate is None
            else [
                ua.SecurityPolicyType.NoSecurity,
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        )
        tokens = [ua.UserNameIdentityToken] if self.line.username else [ua.AnonymousIdentityToken]
        server.set_identity_tokens(tokens)
        if self.line.certificate is not None and self.line.key is not None:
            await server.load_certificate(self.line.certificate)
            await server.load_private_key(self.line.key)
        if self.line.client_certificate is not None:
            trust_only(server, self.line.client_certificate)
        self._namespace = await server.register_namespace(self.line.namespace_uri)
        await self._make_nodes(server, conveyor)
        await listen(server)
        assert server.bserver is not None
        self._port = int(server.bserver.port)
        self._server = server

    async def stop_serving(self) -> None:
        """Reset every connection and end the server; the values stay."""
        server, self._server = self._server, None
        if server is not None and server.bserver is not None:
            for client in list(server.bserver.clients):
                if client.transport is not None:
                    client.transport.abort()
            await server.stop()

    def unload(self) -> None:
        """Take the program's nodes away, as a download does; sessions and connections live on."""
        assert self.strict is not None
        self.strict.absent = True

    async def load(self) -> None:
        """Show the program's nodes again, as `reset` has set them."""
        assert self.strict is not None
        self.strict.absent = False
        await self.show()

    async def _make_nodes(self, server: Server, conveyor: Mapping[str, bool | float]) -> None:
        self._ids = {}
        place = self._node_id(self.line.method_object)
        folder = await server.nodes.objects.add_folder(place, "VisionReject")
        each = self._profile.each
        elements = [replace(each, name=name) for name in self._elements()] if each is not None else []
        writable: set[Any] = set()
        for entry in (*self._profile.nodes, *self._profile.optional, *elements):
            if entry.name in self.line.absent:
                continue
            kind = self.line.types.get(entry.name, entry.type)
            value = self._values.get(entry.name, False if kind == "Boolean" else 0)
            node_id = await self._add(folder, entry.name, value, kind)
            if entry.writer is Writer.BRIDGE and entry.name not in self.line.read_only:
                writable.add(node_id)
        for name, kind in _CONVEYOR.items():
            writable.add(await self._add(folder, name, conveyor[name], kind, node_id=f"s={name}"))
        for name, (text_id, kind) in self._identity_nodes().items():
            if name not in self.line.absent:
                await self._add(folder, name, self._values[name], kind, node_id=text_id)
        for node_id in writable:
            await server.get_node(node_id).set_writable()
        if self._profile.method is not None and self._profile.method.name not in self.line.absent:
            await self._add_method(folder, self._profile.method)
        self.strict = StrictAttributes(server.iserver.aspace, self.line.refuse_timestamps)
        self.strict.verdicts = {self._ids[name] for name in self._verdicts() if name in self._ids}
        mails = self.strict.verdicts if self._profile.count else set()
        self.strict.on_write = self._wake_for({*mails, *(self._ids[name] for name in _CONVEYOR)})
        server.iserver.attribute_service = self.strict

    def _wake_for(self, ids: set[Any]) -> Callable[[Any], None]:
        def on_write(node_id: Any) -> None:
            if node_id in ids:
                self._program.written()

        return on_write

    async def _add(self, folder: Any, name: str, value: Any, kind: str, *, node_id: str | None = None) -> Any:
        self._ids[name] = self._node_id(node_id or self._text_id(name))
        variant_type = _VARIANTS.get(kind) or getattr(ua.VariantType, kind)
        shown = ua.QualifiedName(name, self._namespace)
        await folder.add_variable(self._ids[name], shown, value, varianttype=variant_type)
        return self._ids[name]

    async def _add_method(self, folder: Any, method: Method) -> None:
        kinds = {name: self.line.types.get(f"{method.name}.{name}", kind) for name, kind in method.inputs}
        types = [getattr(ua.VariantType, kind) for kind in kinds.values()]
        taken = method_callback(types, self._program.called, self._program.before_call)
        takes = [_argument(name, kind) for name, kind in kinds.items()]
        gives = [_argument(name, kind) for name, kind in method.outputs]
        await folder.add_method(self._node_id(self._text_id(method.name)), method.name, taken, takes, gives)

    def _node_id(self, text: str) -> Any:
        return ua.NodeId(text[2:] if text.startswith("s=") else int(text[2:]), self._namespace)

    def _text_id(self, name: str) -> str:
        element = element_of(name)
        if element is None:
            return self.line.nodes.get(name) or self.line.node.replace("{name}", name)
        nodes = self.line.lane_node if element[0] == LANE.name and self.line.lane_node else self.line.slot_node
        pattern = nodes.replace("{name}", element[0])
        return self.line.nodes.get(name) or pattern.replace("{index}", str(element[1]))

    def clients(self) -> list[Any]:
        """Return the connections that are open."""
        return list(self._server.bserver.clients) if self._server and self._server.bserver else []

    def read(self, name: str) -> Any:
        """Return a node's value as the program sees it."""
        if self._server is None or name not in self._ids:
            return self._values.get(name, 0)
        found = self._server.iserver.aspace.read_attribute_value(self._ids[name], ua.AttributeIds.Value)
        return found.Value.Value

    async def put(self, name: str, value: Any, *, at: datetime | None = None) -> None:
        """Set a node's value, as of `at` where that is not now."""
        if name in self._values:
            self._values[name] = value
        if self._server is None or name not in self._ids or self.read(name) == value:
            return
        kind = _VARIANTS[self._kind_of(name)]
        now = datetime.now(UTC)
        data = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=at or now, ServerTimestamp=now)
        await self._server.iserver.aspace.write_attribute_value(self._ids[name], ua.AttributeIds.Value, data)

    def _kind_of(self, name: str) -> str:
        if name.startswith(_IDENTITY):
            return self._identity_nodes()[name][1]
        return _CONVEYOR.get(name) or node(name).type

    async def put_ring(self, part: BeltPart, action: GateCode, confirm: Confirm) -> None:
        """Write what the gate did with a part into its place of the ring."""
        ring = list(self.read("GateRing"))
        ring[part.number % GATE_RING] = encode_gate(part.epoch, part.number, action, confirm)
        await self.put("GateRing", ring)


def _argument(name: str, kind: str) -> Any:
    data_type = ua.NodeId(getattr(ua.ObjectIds, kind))
    return ua.Argument(
        Name=name, DataType=data_type, ValueRank=-1, ArrayDimensions=[], Description=ua.LocalizedText("")
    )
