"""A line: its geometry, its PLC, its stations."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from neverblink.events.parts import AttributeName, Name
from neverblink.plant.section import PlacedError, Section, named, unique
from neverblink.plant.stations import Station


class Timing(Section):
    """The line's geometry: how long a part takes from trigger to gate, and what of it is ours."""

    distance_to_gate_m: float = Field(gt=0, le=1000, description="Trigger to gate along the conveyor, metres.")
    speed_m_s: float = Field(gt=0, le=100, description="Conveyor speed, metres per second.")
    actuator_ms: float = Field(default=150.0, ge=0, le=10000, description="Time the gate needs to move.")
    plc_cycle_ms: float = Field(default=20.0, ge=0, le=1000, description="Cycle time of the PLC task.")
    margin_ms: float = Field(default=50.0, ge=0, le=10000, description="Kept free for what was not foreseen.")

    @property
    def lead_s(self) -> float:
        """Seconds from trigger to gate."""
        return self.distance_to_gate_m / self.speed_m_s

    @property
    def budget_s(self) -> float:
        """Seconds from trigger to the verdict's deadline."""
        return self.lead_s - (self.actuator_ms + self.plc_cycle_ms + self.margin_ms) / 1000

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if self.budget_s <= 0:
            raise ValueError(
                f"a part reaches the gate {self.lead_s * 1000:.0f} ms after its trigger, and actuator, "
                f"PLC cycle and margin need {(self.lead_s - self.budget_s) * 1000:.0f} ms: no time is left "
                "for a verdict; move the gate or slow the line"
            )
        return self


class OpcUaSecurity(Section):
    """How the PLC's server is trusted, and who we are to it."""

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss", "None"] = Field(
        default="Basic256Sha256", description="OPC UA security policy; both but None sign and encrypt."
    )
    certificate: Path | None = Field(default=None, description="Our application certificate, DER or PEM.")
    key: Path | None = Field(default=None, description="Our private key, PEM.")
    plc_certificate: Path | None = Field(
        default=None, description="The PLC's certificate, pinned: this one and no other. DER or PEM."
    )
    trusted: Path | None = Field(
        default=None,
        description="Instead of plc_certificate: folder with the certificates of trusted PLCs, or of the authority that"
        " signs them. One that is not among them is put into rejected/ below it, to be compared and moved.",
    )
    username: str | None = Field(default=None, description="User name at the PLC; without it, anonymous.")
    password_file: Path | None = Field(default=None, description="File whose first line is the password.")
    allow_insecure: bool = Field(default=False, description="Accept policy None, for a test or a closed cell.")

    @model_validator(mode="after")
    def _safe_by_default(self) -> Self:
        if self.policy == "None" and not self.allow_insecure:
            raise ValueError("policy None sends verdicts unsigned; write allow_insecure: true to accept that")
        missing = [name for name in ("certificate", "key") if getattr(self, name) is None]
        if self.plc_certificate is None and self.trusted is None:
            missing.append("plc_certificate, or a folder trusted")
        if self.policy != "None" and missing:
            raise ValueError(f"policy {self.policy} needs {', '.join(missing)}")
        if self.plc_certificate is not None and self.trusted is not None:
            raise ValueError("plc_certificate pins one certificate and trusted a folder of them: give one of the two")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: give both or neither")
        return self


NodeId = Annotated[str, StringConstraints(pattern=r"^(s=.+|i=[0-9]+)$")]


class IdentityNodes(Section):
    """Nodes of the PLC's program that say which part it has just triggered. Each may be left out; all are read at once.

    The program sets them before it counts LastTriggered, in the same cycle, or says in `number` whose they are.
    """

    order: NodeId | None = Field(default=None, description="Node of the production order, `s=…` or `i=…`.")
    lot: NodeId | None = Field(default=None, description="Node of the lot or batch.")
    serial: NodeId | None = Field(default=None, description="Node of the part's own serial number.")
    recipe: NodeId | None = Field(default=None, description="Node of the recipe that the line runs.")
    carrier: NodeId | None = Field(default=None, description="Node of the pallet, tray or carrier.")
    attributes: dict[AttributeName, NodeId] = Field(
        default_factory=dict, max_length=16, description="Nodes of whatever else the part is to be found by, by name."
    )
    challenge: NodeId | None = Field(
        default=None,
        description="Node with the id of the reference part that the part is; empty or 0 for every other part.",
    )
    number: NodeId | None = Field(
        default=None,
        description="Node with the number of the part that the others are about, set after them. Values of another part"
        " than the one that was triggered are left out.",
    )
    wait_ms: float = Field(
        default=50.0,
        ge=1,
        le=1000,
        description="How long after its trigger a picture waits for the values at most; then it goes without them.",
    )

    @property
    def by_field(self) -> dict[str, str]:
        """Return the node ids by what they fill: `serial`, `challenge`, or `attributes.NAME`."""
        names = ("order", "lot", "serial", "recipe", "carrier", "challenge")
        fields = {name: node for name in names if (node := getattr(self, name)) is not None}
        return fields | {f"attributes.{name}": node for name, node in self.attributes.items()}


class Plc(Section):
    """One line's PLC: where it is, how its program names the contract's nodes, how it is written."""

    endpoint: str = Field(pattern=r"^opc\.tcp://[^\s/]+:\d+(/\S*)?$", description="opc.tcp://host:port/path")
    profile: Literal["verdict-table", "mailbox", "method"] = Field(
        default="verdict-table",
        description="How rejects are told. In a verdict table, silence rejects; in the other two, silence passes.",
    )
    accept_silent_pass: bool = Field(
        default=False, description="Accept a profile in which a part passes when nobody speaks of it."
    )
    namespace_uri: str = Field(default="urn:neverblink:plc", description="Namespace of the mapped nodes.")
    node: str = Field(
        default="s=VisionReject.{name}",
        pattern=r"^[si]=.*\{name\}.*$",
        description="Node id of a contract name; {name} is replaced.",
    )
    slot_node: str = Field(
        default="s=VisionReject.{name}[{index}]",
        pattern=r"^[si]=.*\{index\}.*$",
        description="Node id of one slot of the verdict table or mailbox; {index} is replaced, and {name} by Verdict or"
        " CmdWord.",
    )
    lane_node: str | None = Field(
        default=None,
        pattern=r"^[si]=.*\{index\}.*$",
        description="Where the PLC can send parts to an inspection lane: node id of one slot's lane word; {index} is"
        " replaced, and {name} by Lane. None: holdouts go the ordinary way, and people fetch them by their names.",
    )
    method_object: str = Field(
        default="s=VisionReject",
        pattern=r"^[si]=.+$",
        description="Profile method: node id of the object that has the method Reject.",
    )
    nodes: dict[str, str] = Field(
        default_factory=dict,
        description="Node ids that do not follow the pattern: contract name to `s=…` or `i=…`.",
    )
    identity: IdentityNodes | None = Field(
        default=None, description="Nodes that say what the part is: serial number, lot, order and more."
    )
    security: OpcUaSecurity = Field(description="How the PLC's server is trusted, and who we are to it.")
    heartbeat_ms: float = Field(default=200.0, ge=50, le=2000, description="How often BridgeHb counts on.")
    write_budget_min_ms: float = Field(
        default=20.0,
        ge=1,
        le=1000,
        description="What a write is reckoned to take at least, however fast the last were.",
    )
    write_budget_max_ms: float = Field(
        default=150.0,
        ge=1,
        le=5000,
        description="What a write is reckoned to take at most, however slow the last were.",
    )
    session_timeout_s: float = Field(
        default=30.0, ge=5, le=600, description="After so long without us the PLC's server ends our session by itself."
    )
    session_folder: Path | None = Field(
        default=None,
        description="Folder that keeps the token of the open session, readable by us alone, so that a session that a"
        " crash left behind is ended at once instead of after session_timeout_s.",
    )

    @property
    def place(self) -> tuple[str, str]:
        """Return where the nodes live: server and namespace."""
        return self.endpoint.rstrip("/").lower(), self.namespace_uri

    def node_id(self, name: str) -> str:
        """Return the identifier part of a contract name's node id, without the namespace index."""
        return self.nodes.get(name) or self.node.replace("{name}", name)

    def slot_id(self, index: int | str, table: str = "Verdict") -> str:
        """Return the identifier part of one slot's node id."""
        nodes = self.lane_node if table == "Lane" and self.lane_node is not None else self.slot_node
        pattern = nodes.replace("{name}", table)
        return self.nodes.get(f"{table}[{index}]") or pattern.replace("{index}", str(index))

    @model_validator(mode="after")
    def _lane_is_its_own(self) -> Self:
        if self.lane_node is None:
            return self
        if self.profile != "verdict-table":
            raise ValueError(f"profile {self.profile} has no lane words: take lane_node away, or use verdict-table")
        if self.slot_id(0) == self.slot_id(0, "Lane"):
            raise ValueError("lane_node and slot_node name the same nodes: a lane word would overwrite a verdict")
        return self

    @model_validator(mode="after")
    def _silence_is_accepted(self) -> Self:
        if self.profile != "verdict-table" and not self.accept_silent_pass:
            raise ValueError(
                f"with profile {self.profile} a part passes when nobody speaks, so a lost verdict is a missed defect:"
                " write accept_silent_pass: true to accept that, or profile: verdict-table, where silence rejects"
            )
        if self.profile == "verdict-table" and self.accept_silent_pass:
            raise ValueError("with profile verdict-table silence rejects: take accept_silent_pass away")
        return self


class Line(Section):
    """A conveyor with its stations, its gate and its PLC."""

    name: Name = Field(description="What people and records call the line; the key of its events.")
    timing: Timing = Field(description="How long a part takes from trigger to gate.")
    stations: tuple[Station, ...] = Field(min_length=1, description="The cameras of the line.")
    plc: Plc | None = Field(default=None, description="Without a PLC, verdicts are published and not told.")
    hall: Name | None = Field(default=None, description="Where it stands: the console's wall shows lines by hall.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique("station", [station.name for station in self.stations], "stations", "name")
        for number, station in enumerate(self.stations):
            at = ("stations", number, "trigger")
            if station.trigger.kind == "plc" and self.plc is None:
                raise PlacedError(
                    f"station {station.name} is triggered by the PLC, and the line has no plc section", *at
                )
            if station.trigger.kind == "hardware" and self.plc is not None:
                raise PlacedError(
                    f"station {station.name} is triggered by its camera, which does not know the PLC's part numbers, so"
                    " no verdict could be told: wire the photo-eye to both and write trigger: {kind: plc}",
                    *at,
                )
        return self

    def station(self, name: str) -> Station:
        """Return the station of that name. Raises PlantError when there is none."""
        return named("station", name, self.stations)
