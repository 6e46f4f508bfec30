"""One OPC UA session with a PLC. A lost session is never revived: the owner opens a fresh one."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncua.ua
from asyncua.client.client import Client
from asyncua.common.subscription import OverflowPolicy

from neverblink.plant import Plc
from neverblink.plc.browsing import walk
from neverblink.plc.contract import PROFILES, DataType, Method, Profile, element_of, node
from neverblink.plc.errors import ContractError, PlcUnreachableError, words
from neverblink.plc.node_changes import NodeChanges
from neverblink.plc.proposals import SeenNode

WATCHDOG_S = 0.5  # a half-open connection is found within twice this
READ_CHUNK = 100  # attributes in one Read: PLCs bound MaxNodesPerRead, and big reads take seconds on small ones

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

_TYPES: Mapping[DataType, Any] = {
    "Boolean": ua.VariantType.Boolean,
    "UInt16": ua.VariantType.UInt16,
    "UInt32": ua.VariantType.UInt32,
}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server says about one node. `status` is None when the node exists."""

    status: str | None
    type: str | None
    rank: int | None
    length: int | None
    access: int
    user_access: int


@dataclass(frozen=True, slots=True)
class MethodFound:
    """What the server says about a method and the object that has it."""

    owner_missing: str | None = None
    missing: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    executable: bool = False


class PlcConnection:
    """A live session. Names are contract names; values are plain Python numbers and booleans."""

    def __init__(self, client: Client, plc: Plc, namespace: int) -> None:
        self._client = client
        self._plc = plc
        self._namespace = namespace
        self._ids: dict[str, Any] = {}
        self.lost = asyncio.Event()
        self.lost_because = ""
        self.expiries: Mapping[str, datetime] = {}

    @property
    def mapped(self) -> Iterable[str]:
        """Return the contract names that the plant file maps one by one."""
        return self._plc.nodes.keys()

    @property
    def has_lane(self) -> bool:
        """Return whether the plant file says that the PLC has lane words."""
        return self._plc.lane_node is not None

    def text_id(self, name: str) -> str:
        """Return a contract name's node id as the plant file writes it."""
        return node_text_id(self._plc, name)

    @property
    def method_object(self) -> str:
        """Return the node id of the object that has the method, as the plant file writes it."""
        return self._plc.method_object

    @property
    def profile(self) -> Profile:
        """Return the profile that the plant file names."""
        return PROFILES[self._plc.profile]

    def _id(self, name: str) -> Any:
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = self._text(self.text_id(name))
        return known

    async def read(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the values of nodes, None for one that cannot be read now. Raises PlcUnreachableError."""
        values = await self._read([(self._id(name), ua.AttributeIds.Value) for name in names])
        return {
            name: found.Value.Value if found.Value is not None and _good(found) else None
            for name, found in zip(names, values, strict=True)
        }

    async def read_ids(self, ids: Mapping[str, str]) -> dict[str, tuple[Any, str | None]]:
        """Return value and status name (None: good) of nodes, by whatever names them, in one request.

        Ids are as the plant file writes them. Raises PlcUnreachableError, ContractError.
        """
        wanted = [(self._text(text), ua.AttributeIds.Value) for text in ids.values()]
        return {
            name: (found.Value.Value, None) if _good(found) and found.Value is not None else (None, _status(found))
            for name, found in zip(ids, await self._read(wanted), strict=True)
        }

    def _text(self, text: str) -> Any:
        known = self._ids.get(text)
        if known is None:
            known = self._ids[text] = parse_node_id(text, self._namespace)
        return known

    async def write(self, values: Mapping[str, int | bool]) -> dict[str, str | None]:
        """Write nodes in one request; return the status name of each that was refused, None for a good one.

        Nothing is retried: after PlcUnreachableError or TimeoutError it is unknown whether the PLC has
        written, or still will.
        """
        ids = [self._id(name) for name in values]
        # Without timestamps: S7, Kepware and open62541 answer BadWriteNotSupported when one is set.
        data = [ua.DataValue(ua.Variant(value, _TYPES[node(name).type])) for name, value in values.items()]
        try:
            results = await self._client.uaclient.write_attributes(ids, data, ua.AttributeIds.Value)
        except TimeoutError:
            raise
        except (OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the write was not answered: {words(error)}") from error
        return {name: None if status.is_good() else status.name for name, status in zip(values, results, strict=True)}

    async def register(self, names: Iterable[str]) -> None:
        """Register nodes that are used again and again; a server that cannot is used without."""
        wanted = list(names)
        try:
            aliases = await self._client.uaclient.register_nodes([self._id(name) for name in wanted])
        except (TimeoutError, OSError, ua.UaError):
            return
        self._ids.update(zip(wanted, aliases, strict=True))

    async def attributes(self, names: Sequence[str]) -> dict[str, Attributes]:
        """Return type, rank and access of nodes, for validation. Raises PlcUnreachableError."""
        kinds = (
            ua.AttributeIds.DataType,
            ua.AttributeIds.ValueRank,
            ua.AttributeIds.AccessLevel,
            ua.AttributeIds.UserAccessLevel,
            ua.AttributeIds.Value,
        )
        found = await self._read([(self._id(name), kind) for name in names for kind in kinds])
        return {name: _attributes(found[i * len(kinds) : (i + 1) * len(kinds)]) for i, name in enumerate(names)}

    async def call(self, method: Method, values: Sequence[int]) -> tuple[str | None, list[Any]]:
        """Call a method once; return the status name if the server refused it, and what it gave back.

        As with `write`, after PlcUnreachableError or TimeoutError it is unknown whether the PLC acts.
        """
        request = ua.CallMethodRequest()
        request.ObjectId, request.MethodId = self._method_ids(method)
        request.InputArguments = [
            ua.Variant(value, _TYPES[kind]) for value, (_, kind) in zip(values, method.inputs, strict=True)
        ]
        try:
            (result,) = await self._client.uaclient.call([request])
        except TimeoutError:
            raise
        except (OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the call was not answered: {words(error)}") from error
        if not result.StatusCode.is_good():
            return result.StatusCode.name, []
        return None, [argument.Value for argument in result.OutputArguments or ()]

    async def method_found(self, method: Method) -> MethodFound:
        """Return what the server says about a method, for validation. Raises PlcUnreachableError."""
        owner, method_id = self._method_ids(method)
        asked = (
            (owner, ua.AttributeIds.NodeClass),
            (method_id, ua.AttributeIds.NodeClass),
            (method_id, ua.AttributeIds.Executable),
            (method_id, ua.AttributeIds.UserExecutable),
        )
        owner_class, method_class, executable, user_executable = await self._read(asked)
        if not _good(owner_class):
            return MethodFound(owner_missing=owner_class.StatusCode.name)
        if not _good(method_class):
            return MethodFound(missing=method_class.StatusCode.name)
        if method_class.Value.Value != ua.NodeClass.Method:
            return MethodFound(missing="it is a variable or an object")
        takes = await self._arguments(method_id, "InputArguments")
        gives = await self._arguments(method_id, "OutputArguments")
        allowed = all(_good(found) and found.Value.Value for found in (executable, user_executable))
        return MethodFound(inputs=takes, outputs=gives, executable=allowed)

    def _method_ids(self, method: Method) -> tuple[Any, Any]:
        if method.name not in self._ids:
            self._ids[method.name] = parse_node_id(self.text_id(method.name), self._namespace)
        return parse_node_id(self._plc.method_object, self._namespace), self._ids[method.name]

    async def _arguments(self, method_id: Any, which: str) -> tuple[tuple[str, str], ...]:
        try:
            found = await self._client.get_node(method_id).get_child(f"0:{which}")
            arguments = await found.read_value()
        except (TimeoutError, OSError) as error:
            raise PlcUnreachableError(f"the PLC does not tell a method's arguments: {words(error)}") from error
        except ua.UaError:
            return ()  # a method without arguments may leave the property out
        return tuple((str(argument.Name), _type_name(argument)) for argument in arguments or ())

    async def walk(self) -> list[SeenNode]:
        """Return the nodes of programs that the server shows. Raises PlcUnreachableError."""
        return await walk(self._client)

    async def subscribe(self, names: Sequence[str], every_ms: float) -> NodeChanges:
        """Return a subscription to nodes, sampled and told so often. Raises PlcUnreachableError."""
        try:
            subscription = await self._client.create_subscription(
                every_ms, queue_maxsize=1024, overflow=OverflowPolicy.DROP_OLDEST
            )
            nodes: Any = [self._client.get_node(self._id(name)) for name in names]
            interval = ua.Double(every_ms)
            await subscription.subscribe_data_change(nodes, queuesize=32, sampling_interval=interval)
        except (TimeoutError, OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the PLC grants no subscription: {words(error)}") from error
        return NodeChanges(subscription, {self._id(name): name for name in names}, self.lost)

    async def _read(self, wanted: Sequence[tuple[Any, Any]]) -> list[Any]:
        found: list[Any] = []
        try:
            for start in range(0, len(wanted), READ_CHUNK):
                parameters = ua.ReadParameters()
                # Nobody reads them, and they are half of an answer and of the time to take it apart.
                parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
                parameters.NodesToRead = [
                    ua.ReadValueId(node_id, attribute) for node_id, attribute in wanted[start : start + READ_CHUNK]
                ]
                found += await self._client.uaclient.read(parameters)
        except (TimeoutError, OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the PLC does not answer a read: {words(error)}") from error
        return found

    async def on_lost(self, error: Exception) -> None:
        """Take that the session is lost, and why."""
        self.lost_because = words(error)
        self.lost.set()


def node_text_id(plc: Plc, name: str) -> str:
    """Return a contract name's node id as the plant file writes it."""
    element = element_of(name)
    return plc.node_id(name) if element is None else plc.slot_id(element[1], element[0])


def parse_node_id(text: str, namespace: int) -> Any:
    """Return the node id that `s=…` or `i=…` means in a namespace. Raises ContractError."""
    kind, _, identifier = text.partition("=")
    if kind == "i" and identifier.isdecimal():
        return ua.NodeId(int(identifier), namespace)
    if kind == "s" and identifier:
        return ua.NodeId(identifier, namespace)
    raise ContractError(f"the node id {text!r} is neither s=NAME nor i=NUMBER; correct it in the plant file")


def _good(found: Any) -> bool:
    return found.StatusCode is None or bool(found.StatusCode.is_good())


def _status(found: Any) -> str:
    return "no value" if found.StatusCode is None or found.StatusCode.is_good() else str(found.StatusCode.name)


def _attributes(found: Sequence[Any]) -> Attributes:
    data_type, rank, access, user_access, value = found
    if not _good(data_type):
        return Attributes(data_type.StatusCode.name, None, None, None, 0, 0)
    variant = value.Value if _good(value) else None
    if variant is not None and variant.VariantType is not ua.VariantType.Null:
        # The value's own type is what a write must have; S7's DWORD is a vendor type derived from UInt32.
        name = variant.VariantType.name
    else:
        name = ua.ObjectIdNames.get(data_type.Value.Value.Identifier, str(data_type.Value.Value))
    length = len(variant.Value) if variant is not None and isinstance(variant.Value, list) else None
    return Attributes(None, name, _number(rank), length, _number(access) or 0, _number(user_access) or 0)


def _type_name(argument: Any) -> str:
    number = argument.DataType.Identifier if argument.DataType.NamespaceIndex == 0 else None
    name = ua.ObjectIdNames.get(number, str(argument.DataType))
    return str(name) if argument.ValueRank in (-1, -2, -3) else f"array of {name}"


def _number(found: Any) -> int | None:
    return int(found.Value.Value) if _good(found) and found.Value is not None else None
