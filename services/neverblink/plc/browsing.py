"""Walks through what a PLC's server shows, for a person who does not know its node ids."""

from collections.abc import Sequence
from typing import Any

import asyncua.ua
from asyncua.client.client import Client

from neverblink.plc.errors import PlcUnreachableError, words
from neverblink.plc.proposals import SeenNode
from neverblink.service_life.time_limit import time_limit

MOST_NODES = 20_000
WITHIN_S = 60.0
_AT_ONCE = 20  # a small PLC answers one node in milliseconds and a hundred in seconds
_MOST_REFERENCES = 1000

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua


async def walk(client: Client) -> list[SeenNode]:
    """Return the nodes below Objects that are not OPC UA's own, MOST_NODES at most. Raises PlcUnreachableError."""
    try:
        async with time_limit(WITHIN_S):
            return await _walk(client)
    except TimeoutError as error:
        raise PlcUnreachableError(f"the PLC does not show all its nodes within {WITHIN_S:g} s") from error
    except (OSError, ua.UaError) as error:
        raise PlcUnreachableError(f"the PLC does not show its nodes: {words(error)}") from error


async def _walk(client: Client) -> list[SeenNode]:
    namespaces: list[str] = await client.get_namespace_array()
    found: list[SeenNode] = []
    ahead: list[tuple[Any, str]] = [(ua.NodeId(ua.ObjectIds.ObjectsFolder), "")]
    known = {ahead[0][0]}
    while ahead and len(found) < MOST_NODES:
        some, ahead = ahead[:_AT_ONCE], ahead[_AT_ONCE:]
        for (_, parent), references in zip(some, await _below(client, [node for node, _ in some]), strict=True):
            for reference in references:
                node = ua.NodeId(
                    reference.NodeId.Identifier, reference.NodeId.NamespaceIndex, reference.NodeId.NodeIdType
                )
                text = _text(node)
                # The server's own nodes are in namespace 0: nothing of a program lies below them.
                if node in known or text is None or not 0 < node.NamespaceIndex < len(namespaces):
                    continue
                known.add(node)
                found.append(SeenNode(namespaces[node.NamespaceIndex], text, parent, str(reference.BrowseName.Name)))
                ahead.append((node, text))
    return found


async def _below(client: Client, nodes: Sequence[Any]) -> list[list[Any]]:
    parameters = ua.BrowseParameters()
    parameters.RequestedMaxReferencesPerNode = _MOST_REFERENCES
    for node in nodes:
        wanted = ua.BrowseDescription()
        wanted.NodeId = node
        wanted.BrowseDirection = ua.BrowseDirection.Forward
        wanted.ReferenceTypeId = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
        wanted.IncludeSubtypes = True
        wanted.ResultMask = ua.BrowseResultMask.All
        parameters.NodesToBrowse.append(wanted)
    return [await _whole(client, result) for result in await client.uaclient.browse(parameters)]


async def _whole(client: Client, result: Any) -> list[Any]:
    references = list(result.References or ())
    while result.ContinuationPoint and len(references) < MOST_NODES:
        more = ua.BrowseNextParameters()
        more.ReleaseContinuationPoints = False
        more.ContinuationPoints = [result.ContinuationPoint]
        (result,) = await client.uaclient.browse_next(more)
        references += result.References or ()
    return references


def _text(node: Any) -> str | None:
    """Return a node id as the plant file writes it; None for a kind that it cannot name."""
    if isinstance(node.Identifier, str):
        return f"s={node.Identifier}"
    return f"i={node.Identifier}" if isinstance(node.Identifier, int) else None
