"""Which node ids in the plant file would fit the nodes that a PLC has, from their names alone. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from neverblink.plc.contract import Profile, element_name

LEAST = 2
"""So many of the contract's names must be found side by side; a single Epoch is somebody else's."""

_Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SeenNode:
    """One node of a server: its namespace's URI, its id and its parent's as the plant file writes them, its name."""

    namespace_uri: str
    text_id: str
    parent: str
    name: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write into `plc` for one set of nodes. `missing` are the contract's nodes that are not among them."""

    namespace_uri: str
    node: str | None
    slot_node: str | None
    nodes: Mapping[str, str] = field(default_factory=dict)
    found: int = 0
    slots: int = 0
    missing: tuple[str, ...] = ()

    def as_settings(self) -> dict[str, object]:
        """Return the fields of the plant file's `plc` that differ from what they were."""
        named = {"node": self.node, "slot_node": self.slot_node, "nodes": dict(self.nodes) or None}
        return {"namespace_uri": self.namespace_uri} | {name: value for name, value in named.items() if value}


def proposals(seen: Iterable[SeenNode], profile: Profile) -> list[Proposal]:
    """Return a proposal for each set of nodes side by side that have the contract's names, the fullest first."""
    wanted = [entry.name for entry in (*profile.nodes, *profile.optional)]
    nodes = list(seen)
    by_pattern: dict[_Place, set[str]] = defaultdict(set)
    by_parent: dict[_Place, dict[str, str]] = defaultdict(dict)
    for one in nodes:
        name = one.name.strip('"')
        if name not in wanted:
            continue
        head, found, tail = one.text_id.rpartition(name)
        if found and not tail.strip('"'):
            by_pattern[one.namespace_uri, f"{head}{{name}}{tail}"].add(name)
        else:
            by_parent[one.namespace_uri, one.parent][name] = one.text_id
    slots = _slots(nodes, profile)
    made = [
        _made(profile, uri, set(names), slots, node=pattern)
        for (uri, pattern), names in by_pattern.items()
        if len(names) >= LEAST
    ]
    made += [
        _made(profile, uri, set(ids), slots, parent=parent, nodes=ids)
        for (uri, parent), ids in by_parent.items()
        if len(ids) >= LEAST
    ]
    return sorted(made, key=lambda one: (-one.found, one.namespace_uri, one.node or ""))


@dataclass(slots=True)
class _Slots:
    """Nodes that look like the elements of the profile's table: those of one pattern, or numbered ones by parent."""

    patterns: dict[_Place, set[int]] = field(default_factory=lambda: defaultdict(set))
    numbered: dict[_Place, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))


def _slots(nodes: Sequence[SeenNode], profile: Profile) -> _Slots:
    found = _Slots()
    if profile.each is None:
        return found
    table = re.escape(profile.each.name)
    in_id = re.compile(rf"^(?P<head>s=.*?){table}(?P<middle>[^0-9]*)(?P<index>[0-9]+)(?P<tail>[^0-9]*)$")
    in_name = re.compile(rf'^"?{table}"?[^0-9]*(?P<index>[0-9]+)[^0-9]*$')
    for one in nodes:
        if (match := in_id.match(one.text_id)) is not None:
            head, middle, index, tail = match.groups()
            found.patterns[one.namespace_uri, f"{head}{{name}}{middle}{{index}}{tail}"].add(int(index))
        elif one.text_id.startswith("i=") and (match := in_name.match(one.name)) is not None:
            found.numbered[one.namespace_uri, one.parent][int(match["index"])] = one.text_id
    return found


def _made(
    profile: Profile,
    uri: str,
    names: set[str],
    slots: _Slots,
    *,
    node: str | None = None,
    parent: str | None = None,
    nodes: Mapping[str, str] | None = None,
) -> Proposal:
    missing = [entry.name for entry in profile.nodes if entry.name not in names]
    mapped, slot_node, count = dict(nodes or {}), None, 0
    if profile.each is not None:
        head = "" if node is None else node.partition("{name}")[0]
        near = {
            pattern: indices
            for (place, pattern), indices in slots.patterns.items()
            if place == uri and node is not None and pattern.startswith(head)
        }
        if near:
            slot_node = max(near, key=lambda pattern: (len(near[pattern]), -len(pattern)))
            count = len(near[slot_node])
        elif parent is not None:
            elements = slots.numbered.get((uri, parent), {})
            mapped |= {element_name(profile.each, index): text for index, text in sorted(elements.items())}
            count = len(elements)
        if not count:
            missing.append(f"{profile.each.name}[0], {profile.each.name}[1] …, each a node of its own")
    return Proposal(uri, node, slot_node, mapped, len(names), count, tuple(missing))
