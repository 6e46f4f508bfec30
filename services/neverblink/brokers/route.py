"""A second way to a broker, which can be cut."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a node that can be cut: it serves at `port` and tells who comes there to come to `advertised` again.

    Whoever forwards from `advertised` to `port`, both on loopback, is the network between a client and the node.
    """

    port: int
    advertised: int
