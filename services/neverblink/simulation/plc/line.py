"""What one simulated line is like."""

from dataclasses import dataclass, field
from pathlib import Path

from neverblink.plant import IdentityNodes, Timing
from neverblink.plc.contract import ProfileName

MIN_SLOTS = 64
ROOM_FOR_RATE = 16.0  # Conveyor.Rate may be raised while running; the slots are counted at the start


@dataclass(frozen=True, slots=True)
class SimulatedLine:
    """What one simulated line is like. Port 0 takes a free one; `parts` 0 is endless.

    `retained` is the file in which it remembers its epoch while it is off; without it, it begins with `epoch` again.
    `client_certificate` is the only one let in; without it, any. `stop_without_bridge` is about the profiles in which
    silence passes. `reset_after_s` is after how long somebody releases a stop that the bridge permits; None: nobody.
    `challenges` are the reference parts among the parts, by number.
    """

    name: str
    timing: Timing
    rate_per_s: float = 2.0
    parts: int = 0
    jitter: float = 0.1
    running: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    profile: ProfileName = "verdict-table"
    namespace_uri: str = "urn:neverblink:plc"
    node: str = "s=VisionReject.{name}"
    slot_node: str = "s=VisionReject.{name}[{index}]"
    lane_node: str | None = None
    method_object: str = "s=VisionReject"
    nodes: dict[str, str] = field(default_factory=dict)
    identity: IdentityNodes | None = None
    slots: int = 0
    watchdog_ms: float = 1000.0
    confirm_ms: float = 60.0
    stop_after_fail_safe: int = 0
    epoch: int = 1
    retained: Path | None = None
    seed: int = 1
    username: str | None = None
    password: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_certificate: Path | None = None
    stop_without_bridge: bool = True
    reset_after_s: float | None = None
    refuse_timestamps: bool = True
    types: dict[str, str] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    challenges: dict[int, str] = field(default_factory=dict)

    @property
    def verdict_slots(self) -> int:
        """Return the number of verdict slots: at least twice the parts in flight, and a power of two."""
        in_flight = int(max(self.rate_per_s, ROOM_FOR_RATE) * self.timing.lead_s) + 2
        return self.slots or max(MIN_SLOTS, 1 << (2 * in_flight - 1).bit_length())
