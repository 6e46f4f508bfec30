"""The plant file: site, Kafka, lines, stations, PLCs and products, in one YAML file that explains itself."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from neverblink.events.parts import Name
from neverblink.events.topics import HOUR_MS, TOPICS

MAX_PLANT_BYTES = 4 * 1024 * 1024


class PlantError(ValueError):
    """A plant file that cannot be used; the message names file, line and column, and what to do."""


class Section(BaseModel):
    """A part of the plant file. Unknown fields are errors: a misspelt setting must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KafkaSecurity(Section):
    """How to reach a cluster that does not trust its network."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Kafka's security.protocol."
    )
    ca_file: Path | None = Field(default=None, description="PEM file of the authority that signed the brokers.")
    cert_file: Path | None = Field(default=None, description="PEM file of the client's certificate.")
    key_file: Path | None = Field(default=None, description="PEM file of the client's key.")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="SASL mechanism."
    )
    username: str | None = Field(default=None, description="SASL user name.")
    password_file: Path | None = Field(default=None, description="File whose first line is the SASL password.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.protocol.startswith("SASL") and (self.username is None or self.password_file is None):
            raise ValueError(f"protocol {self.protocol} needs username and password_file")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both or neither")
        return self


class Kafka(Section):
    """The cluster and how topics are laid out on it."""

    bootstrap: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$",
        description="host:port of one or more brokers, separated by commas.",
    )
    topic_prefix: Name = Field(default="neverblink", description="Topics are named PREFIX.frames, and so on.")
    partitions: int = Field(default=48, ge=1, le=1000, description="Partitions per topic; chosen once.")
    replication: int = Field(
        default=-1, ge=-1, le=9, description="Copies of each partition; -1 takes the cluster's default."
    )
    security: KafkaSecurity = KafkaSecurity()


class Storage(Section):
    """Where files live. Relative paths are relative to the plant file."""

    artifacts: Path = Field(default=Path("artifacts"), description="Folder of fitted models.")
    ledger: str = Field(default="sqlite:///ledger.db", description="SQLAlchemy URL of the ledger.")
    objects: str | None = Field(
        default=None,
        min_length=1,
        description="Where images lie that are too large for a Kafka record: a folder that camera nodes and scorers"
        " share, or an fsspec URL such as s3://bucket/frames. Without it such images are refused.",
    )
    objects_keep_h: float = Field(
        default=12.0, gt=0, le=24 * 365, description="Objects older than so many hours are deleted."
    )
    artifact_store: str | None = Field(
        default=None,
        min_length=1,
        description="Where scorers fetch activated models that do not lie under artifacts: a folder that all hosts"
        " share, or an fsspec URL such as s3://bucket/models.",
    )
    model_cache: Path = Field(
        default=Path("model-cache"), description="Folder where a scorer keeps the models that it fetched, by digest."
    )
    model_cache_mib: int = Field(
        default=8192, ge=1, le=16_777_216, description="MiB of it; the models longest unused are deleted first."
    )
    spool: Path = Field(
        default=Path("spool"),
        description="Folder where a camera node keeps what it could not publish in time, for statistics.",
    )
    spool_max_mib: int = Field(default=1024, ge=0, le=1_048_576, description="MiB per station; 0 keeps nothing.")
    spool_max_events: int = Field(default=20_000, ge=1, le=1_000_000, description="Frames, and verdicts, per station.")

    @model_validator(mode="after")
    def _objects_outlive_their_events(self) -> Self:
        kept_h = TOPICS["frames"].retention_ms / HOUR_MS
        if self.objects_keep_h < kept_h:
            raise ValueError(
                f"objects_keep_h is {self.objects_keep_h:g} and the frames topic keeps its events {kept_h:g} h:"
                " an event would outlive its image"
            )
        return self


class ScorerSettings(Section):
    """Batching, in Triton's terms, and where the model runs."""

    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N.")
    engine: Literal["auto", "torch", "torch-cuda", "openvino"] = Field(
        default="auto",
        description="What runs the backbone; auto: torch-cuda on a GPU, openvino on a CPU. A model fitted with bf16 or"
        " int8 runs on the engine that it was fitted with.",
    )
    threads: int = Field(default=0, ge=0, le=256, description="CPU threads of the model; 0 lets the library choose.")
    max_batch: int = Field(default=8, ge=1, le=256, description="Frames in one forward pass at most.")
    max_queue_delay_ms: float = Field(
        default=5.0, ge=0, le=1000, description="How long the oldest frame may wait for company."
    )
    max_queue_size: int = Field(default=256, ge=1, le=65536, description="Decoded frames waiting at most.")
    timeout_action: Literal["reject", "delay"] = Field(
        default="delay",
        description="A frame past its deadline is told as late either way; `delay` still scores it.",
    )
    memory_mib: int | None = Field(
        default=None,
        ge=1,
        le=16_777_216,
        description="MiB that models may hold, on the device; beyond it those that no station uses are let go, and a"
        " model that does not fit is refused. None: no bound.",
    )


class DriftSettings(Section):
    """Windows of the drift service, in event time."""

    window_s: float = Field(default=60.0, ge=1, le=86400, description="Length of one window.")
    allowed_lateness_s: float = Field(default=10.0, ge=0, le=3600, description="How long a window waits.")


Taxonomy = Literal["surface", "structural", "dimensional", "foreign-object", "assembly"]


class DefectRule(Section):
    """From when on a defect of one type rejects its part."""

    reject: bool = Field(default=True, description="False: the type is named and tolerated, whatever its size.")
    min_area_px: int = Field(default=1, ge=1, description="A smaller one is tolerated, pixels of the image.")
    min_area_mm2: float | None = Field(
        default=None, gt=0, description="A smaller one is tolerated, mm²; the stations need mm_per_px."
    )
    min_confidence: float = Field(
        default=0.0, ge=0, le=1, description="A less certain one does not reject, and makes its part unsure."
    )


class DefectType(DefectRule):
    """A defect type of the product."""

    taxonomy: Taxonomy | None = Field(
        default=None, description="Class of the type, for yield reports; known for the types that can be synthesised."
    )


class DefectPolicy(Section):
    """What a product is rejected for, when its artifact has a U-Net or a classifier."""

    reject_on: Literal["score", "defects", "either"] = Field(
        default="either",
        description="score: an anomaly above the threshold. defects: a defect whose rule says so; an anomaly that"
        " nobody names only makes the part unsure. either: both.",
    )
    types: dict[Name, DefectType] = Field(
        default={}, description="Rules by type, also for `anomaly` and `unknown`.", max_length=64
    )
    others: DefectRule = Field(default=DefectRule(), description="The rule of all other types.")
    segment: Literal["always", "suspicious"] = Field(
        default="always", description="Which frames the U-Net sees: all, or those whose score is near the threshold."
    )
    suspicious_from: float = Field(
        default=0.5, ge=0, le=1, description="With `suspicious`: from this share of the threshold on."
    )

    @property
    def segment_from(self) -> float:
        """Return the share of the threshold from which on the U-Net sees a frame; 0 where it sees all."""
        return self.suspicious_from if self.segment == "suspicious" else 0.0


class Product(Section):
    """What is inspected, and the artifact that knows it."""

    name: Name
    artifact: Path = Field(description="Artifact folder; a relative one lies under storage.artifacts.")
    weights: Path | None = Field(default=None, description="Backbone weights file, when not the packaged ones.")
    min_area_px: int = Field(default=1, ge=1, description="Smaller regions are not listed as defects.")
    search: Literal["exact", "approximate"] = Field(
        default="exact",
        description="approximate: for memory banks so large that the exact search is too slow; its recall is logged.",
    )
    defects: DefectPolicy = DefectPolicy()

    @property
    def needs_scale(self) -> bool:
        """Say whether a rule speaks of mm²."""
        return any(rule.min_area_mm2 is not None for rule in (*self.defects.types.values(), self.defects.others))


class FolderSource(Section):
    """Image files of a folder and its sub-folders, in name order or shuffled."""

    kind: Literal["folder"]
    path: Path = Field(description="Folder with PNG, JPEG, BMP or TIFF files.")
    shuffle: bool = Field(default=False, description="Draw the order from `seed` instead of the names.")
    loop: bool = Field(default=True, description="Start again after the last image.")
    seed: int = Field(default=0, ge=0)


class SimulatedSource(Section):
    """Drawn parts with drawn defects, the same ones for the same seed."""

    kind: Literal["simulated"]
    drawing: str = Field(description="Which drawing: `pcb` or `disc`.")
    seed: int = Field(default=1, ge=0)
    defect_rate: float = Field(default=0.15, ge=0, le=1, description="Share of parts with a defect.")
    brightness: float = Field(default=1.0, gt=0, le=2, description="Light level; 1 is as fitted.")


class LiveSettings(Section):
    """What every camera that runs by itself has."""

    max_age_ms: float = Field(
        default=100.0,
        ge=0,
        le=60_000,
        description="A picture that arrived longer before the trigger is not the part's; 0 takes only later ones.",
    )
    wait_ms: float = Field(
        default=200.0,
        gt=0,
        le=60_000,
        description="How long after its trigger a part's picture may arrive; then the part is `no-image`. Together with"
        " max_age_ms less than the time between two parts, or a lost picture could be replaced by the next part's.",
    )


class VideoSource(LiveSettings):
    """A video file, as a camera that runs by itself or as one picture a part."""

    kind: Literal["video"]
    path: Path = Field(description="A file that FFmpeg reads: MP4, AVI, MKV.")
    pace: Literal["own-rate", "per-part"] = Field(
        default="own-rate", description="own-rate: plays like a camera. per-part: every trigger takes the next picture."
    )
    loop: bool = Field(default=True, description="Start again after the last picture.")


class RtspSource(LiveSettings):
    """A network camera: RTSP, or motion JPEG over HTTP."""

    kind: Literal["rtsp"]
    url: str = Field(
        pattern=r"^(rtsps?|https?)://[^\s@]+$", description="rtsp://host:port/path, without user and password."
    )
    username: str | None = Field(default=None, description="User name at the camera.")
    password_file: Path | None = Field(default=None, description="File whose first line is the password.")
    silent_after_s: float = Field(
        default=5.0, gt=0, le=120, description="Without a picture for so long, the camera is connected anew."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: give both or neither")
        return self


class V4l2Source(LiveSettings):
    """A USB camera or a frame grabber of this Linux machine."""

    kind: Literal["v4l2"]
    device: Path = Field(default=Path("/dev/video0"), description="Device file; use one of /dev/v4l/by-id.")
    width: int | None = Field(
        default=None, ge=16, le=65535, description="Pixels to ask for; None: the camera's choice."
    )
    height: int | None = Field(
        default=None, ge=16, le=65535, description="Pixels to ask for; None: the camera's choice."
    )
    rate: float | None = Field(default=None, gt=0, le=1000, description="Pictures per second to ask for.")
    pixel_format: str | None = Field(
        default=None, pattern=r"^[A-Z0-9]{4}$", description="Four letters such as MJPG or YUYV."
    )


class GenicamSource(LiveSettings):
    """An industrial camera (GigE Vision, USB3 Vision, CoaXPress) through its maker's GenTL producer."""

    kind: Literal["genicam"]
    producer: Path = Field(description="The maker's GenTL producer, a .cti file, where its installer put it.")
    serial: str | None = Field(default=None, description="Serial number; None where the producer sees one camera only.")
    nodes: dict[str, bool | int | float | str] = Field(
        default={},
        description="Camera features to set before the start, in this order: ExposureTime: 500.",
        max_length=256,
    )


class HardwareTrigger(Section):
    """The camera is fired by a photo-eye or an encoder: every picture that arrives is a part.

    For lines whose PLC is not told: the camera does not know the PLC's part numbers. Where it is told, wire the
    photo-eye to both, and let the PLC trigger the station.
    """

    kind: Literal["hardware"]
    silent_after_s: float = Field(
        default=60.0, ge=1, le=86400, description="Without a picture for so long, a warning says so once."
    )


class TimerTrigger(Section):
    """One part per tick. For demonstrations and bench work: a line needs a photo-eye or an encoder."""

    kind: Literal["timer"]
    rate_per_s: float = Field(default=1.0, gt=0, le=1000, description="Parts per second.")
    parts: int | None = Field(default=None, ge=1, description="Stop after so many.")


class PlcTrigger(Section):
    """The PLC triggers: a new value of LastTriggered is a new part, so part identity starts at the PLC."""

    kind: Literal["plc"]
    poll_ms: float = Field(default=20.0, ge=5, le=1000, description="Sampling interval asked of the PLC.")


class QualityLimits(Section):
    """What an image must be to be worth scoring. A limit of None is not checked."""

    min_brightness: float | None = Field(default=0.04, ge=0, le=1, description="Below: too dark.")
    max_brightness: float | None = Field(default=0.96, ge=0, le=1, description="Above: saturated.")
    max_saturation: float | None = Field(default=0.5, ge=0, le=1, description="Share of clipped pixels.")
    min_contrast: float | None = Field(default=0.01, ge=0, le=1, description="Below: low contrast.")
    min_sharpness: float | None = Field(default=None, ge=0, description="Below: blurred; learn it per station.")
    frozen_after: int | None = Field(
        default=3, ge=2, le=1000, description="So many identical images in a row are a frozen camera."
    )
    width: int | None = Field(default=None, ge=1, le=65535, description="Pixels; any other width is a wrong size.")
    height: int | None = Field(default=None, ge=1, le=65535, description="Pixels; any other height is a wrong size.")


class Payload(Section):
    """How an image travels."""

    format: Literal["png", "jpeg", "raw"] = Field(
        default="png", description="png loses nothing; jpeg is smaller; raw costs no time and three bytes a pixel."
    )
    jpeg_quality: int = Field(default=95, ge=50, le=100)
    max_inline_bytes: int = Field(
        default=2 * 1024 * 1024,
        ge=1024,
        le=7 * 1024 * 1024,
        description="A larger image goes to storage.objects; without one it is refused.",
    )


class Station(Section):
    """One camera at one place of a line."""

    name: Name
    product: Name = Field(description="Name of a product of this file.")
    source: Annotated[
        FolderSource | SimulatedSource | VideoSource | RtspSource | V4l2Source | GenicamSource,
        Field(discriminator="kind"),
    ]
    trigger: Annotated[TimerTrigger | PlcTrigger | HardwareTrigger, Field(discriminator="kind")]
    quality: QualityLimits = QualityLimits()
    payload: Payload = Payload()
    mm_per_px: float | None = Field(default=None, gt=0, description="Scale of the image, for areas in mm².")
    buffer_frames: int = Field(default=16, ge=1, le=1024, description="Frames waiting to be published at most.")

    @model_validator(mode="after")
    def _source_can_fire(self) -> Self:
        fires = isinstance(self.source, LiveSettings) and getattr(self.source, "pace", "") != "per-part"
        if self.trigger.kind == "hardware" and not fires:
            raise ValueError(
                "trigger hardware needs a source that fires by itself (genicam, v4l2, rtsp, or video with pace"
                f" own-rate); {self.source.kind} shows a picture when it is asked"
            )
        return self


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

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss", "None"] = Field(default="Basic256Sha256")
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


class Plc(Section):
    """One line's PLC: where it is, how its program names the contract's nodes, how it is written."""

    endpoint: str = Field(pattern=r"^opc\.tcp://[^\s/]+:\d+(/\S*)?$", description="opc.tcp://host:port/path")
    profile: Literal["verdict-table"] = Field(
        default="verdict-table", description="How rejects are told. In a verdict table, silence rejects."
    )
    namespace_uri: str = Field(default="urn:neverblink:plc", description="Namespace of the mapped nodes.")
    node: str = Field(
        default="s=VisionReject.{name}",
        pattern=r"^[si]=.*\{name\}.*$",
        description="Node id of a contract name; {name} is replaced.",
    )
    slot_node: str = Field(
        default="s=VisionReject.Verdict[{index}]",
        pattern=r"^[si]=.*\{index\}.*$",
        description="Node id of one slot of the verdict table; {index} is replaced.",
    )
    nodes: dict[str, str] = Field(
        default_factory=dict,
        description="Node ids that do not follow the pattern: contract name to `s=…` or `i=…`.",
    )
    security: OpcUaSecurity
    heartbeat_ms: float = Field(default=200.0, ge=50, le=2000)
    write_budget_min_ms: float = Field(default=20.0, ge=1, le=1000)
    write_budget_max_ms: float = Field(default=150.0, ge=1, le=5000)
    session_timeout_s: float = Field(default=30.0, ge=5, le=600)

    @property
    def place(self) -> tuple[str, str]:
        """Return where the nodes live: server and namespace."""
        return self.endpoint.rstrip("/").lower(), self.namespace_uri

    def node_id(self, name: str) -> str:
        """Return the identifier part of a contract name's node id, without the namespace index."""
        return self.nodes.get(name) or self.node.replace("{name}", name)

    def slot_id(self, index: int) -> str:
        """Return the identifier part of one verdict slot's node id."""
        return self.nodes.get(f"Verdict[{index}]") or self.slot_node.replace("{index}", str(index))

    @field_validator("profile", mode="before")
    @classmethod
    def _silence_rejects(cls, profile: object) -> object:
        if profile in ("mailbox", "method"):
            raise ValueError(
                f"with profile {profile} a part passes when nobody speaks, so a lost verdict is a missed defect, and"
                " this bridge does not serve it: write profile: verdict-table, where silence rejects"
            )
        return profile


class Line(Section):
    """A conveyor with its stations, its gate and its PLC."""

    name: Name
    timing: Timing
    stations: tuple[Station, ...] = Field(min_length=1)
    plc: Plc | None = Field(default=None, description="Without a PLC, verdicts are published and not told.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _unique("station", [station.name for station in self.stations])
        for station in self.stations:
            if station.trigger.kind == "plc" and self.plc is None:
                raise ValueError(f"station {station.name} is triggered by the PLC, and the line has no plc section")
            if station.trigger.kind == "hardware" and self.plc is not None:
                raise ValueError(
                    f"station {station.name} is triggered by its camera, which does not know the PLC's part numbers, so"
                    " no verdict could be told: wire the photo-eye to both and write trigger: {kind: plc}"
                )
        return self

    def station(self, name: str) -> Station:
        """Return the station of that name. Raises PlantError when there is none."""
        return _named("station", name, self.stations)


class Plant(Section):
    """Everything the services need to know about one site."""

    site: Name
    kafka: Kafka = Kafka()
    storage: Storage = Storage()
    scorer: ScorerSettings = ScorerSettings()
    drift: DriftSettings = DriftSettings()
    products: tuple[Product, ...] = Field(min_length=1)
    lines: tuple[Line, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for _, fault in _twins(self.lines):
            raise ValueError(fault)
        _unique("product", [product.name for product in self.products])
        known = {product.name for product in self.products}
        for line, station in self.stations():
            if station.product not in known:
                raise ValueError(
                    f"station {line.name}/{station.name} inspects product {station.product!r}, which is not "
                    f"in products{_suggestion(station.product, known)}"
                )
            if station.mm_per_px is None and self.product(station.product).needs_scale:
                raise ValueError(
                    f"product {station.product} has defect areas in mm², and station {line.name}/{station.name} has"
                    " no mm_per_px"
                )
        return self

    def stations(self) -> Iterator[tuple[Line, Station]]:
        """Yield every station with its line."""
        for line in self.lines:
            for station in line.stations:
                yield line, station

    def scales(self) -> dict[tuple[str, str], float]:
        """Return the mm per pixel of every (line, station) that has a scale."""
        return {
            (line.name, station.name): station.mm_per_px
            for line, station in self.stations()
            if station.mm_per_px is not None
        }

    def line(self, name: str) -> Line:
        """Return the line of that name. Raises PlantError when there is none."""
        return _named("line", name, self.lines)

    def product(self, name: str) -> Product:
        """Return the product of that name. Raises PlantError when there is none."""
        return _named("product", name, self.products)

    def artifact_folder(self, product: Product) -> Path:
        """Return the folder of a product's artifact."""
        return self.storage.artifacts / product.artifact


def load_plant(path: Path) -> Plant:
    """Read and check a plant file. Raises PlantError with every fault, each with line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PlantError(f"there is no plant file {path}; `neverblink plant example` prints one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlantError(f"the plant file {path} cannot be read: {error}") from error
    return _anchored(parse_plant(text, str(path)), path.parent.resolve())


def load_sound_lines(path: Path) -> tuple[Plant, tuple[str, ...]]:
    """Read a plant file without its faulty lines; return the plant and the faults, for people.

    Of two lines with one name, or one PLC table, neither is sound: nobody can tell which one is meant. Raises
    PlantError when anything but a line is at fault, or no line is left.
    """
    try:
        return load_plant(path), ()
    except PlantError as error:
        refused = error
    try:
        text = path.read_text(encoding="utf-8")
        root, values = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
        sound = [line for raw in values["lines"] if (line := _sound(raw)) is not None]
        twins = dict(_twins(sound))
        left = [line for line in sound if line.name not in twins]
        if root is None or len(left) == len(values["lines"]) or any(_repeated_keys(root)):
            raise refused
        plant = Plant.model_validate({**values, "lines": left})
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise refused from error
    faults = [*str(refused).splitlines(), *(f"{path}: {fault}" for fault in twins.values())]
    return _anchored(plant, path.parent.resolve()), tuple(dict.fromkeys(faults))


def _sound(raw: object) -> Line | None:
    try:
        return Line.model_validate(raw)
    except ValidationError:
        return None


def _twins(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Yield lines that cannot be told apart, by name, each with a sentence: same name, or nodes of the same PLC."""
    for line in lines:
        others = [other for other in lines if other is not line]
        if any(other.name == line.name for other in others):
            yield line.name, f"two lines are named {line.name!r}; each needs its own"
        for other in others:
            if line.plc is None or other.plc is None or line.plc.place != other.plc.place:
                continue
            for field in ("node", "slot_node"):
                if getattr(line.plc, field) == getattr(other.plc, field):
                    same = f"lines {line.name} and {other.name} would write the same nodes of {line.plc.endpoint}"
                    yield line.name, f"{same}: give each its own {field}"


def parse_plant(text: str, name: str = "plant.yaml") -> Plant:
    """Check the text of a plant file; `name` is used in messages. Raises PlantError."""
    if len(text.encode()) > MAX_PLANT_BYTES:
        raise PlantError(f"{name} is larger than {MAX_PLANT_BYTES} bytes, the bound for a plant file")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise PlantError(f"{place}: this is not valid YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise PlantError(f"{name}: sections are nested deeper than any plant is") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-99-99
        raise PlantError(f"{name}: this is not valid YAML: {error}") from error
    if not isinstance(root, yaml.MappingNode):
        raise PlantError(f"{name}:1:1: a plant file is a mapping that starts with `site:`")
    faults = [*_repeated_keys(root)]
    plant: Plant | None = None
    if not faults:
        try:
            plant = Plant.model_validate(values)
        except ValidationError as error:
            # A list whose only item is faulty is also reported as too short: the item's own fault says it.
            causes = [dict(fault) for fault in error.errors() if fault["type"] != "too_short"]
            faults = [_fault(root, fault) for fault in causes or map(dict, error.errors())]
    if plant is None:
        faults.sort(key=lambda fault: (fault.line, fault.column))
        raise PlantError("\n".join(f"{name}:{fault.line}:{fault.column}: {fault.sentence}" for fault in faults))
    return plant


@dataclass(frozen=True, slots=True)
class _Fault:
    line: int
    column: int
    sentence: str


def _fault(root: yaml.Node, fault: dict[str, Any]) -> _Fault:
    steps, node, key_node = _walk(root, list(fault["loc"]))
    place = _place(steps)
    mark = (key_node or node).start_mark
    if fault["type"] == "extra_forbidden":
        sentence = f"{steps[-1]!r} is not a setting of {_place(steps[:-1])}"
        sentence += _suggestion(str(steps[-1]), _known_fields(steps[:-1]))
    elif fault["type"] == "missing":
        sentence = f"{place} is missing"
    else:
        message = fault["msg"].removeprefix("Value error, ")
        sentence = f"{place}: {message[0].lower()}{message[1:]}"
        if fault["type"] != "value_error" and not isinstance(fault["input"], (dict, list)):
            sentence += f" (it is {fault['input']!r})"
    return _Fault(mark.line + 1, mark.column + 1, sentence)


def _place(steps: list[Any]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "the plant"


def _walk(root: yaml.Node, location: list[Any]) -> tuple[list[Any], yaml.Node, yaml.Node | None]:
    """Follow a pydantic location through the YAML nodes as far as it goes.

    Returns the steps without the tags that pydantic adds for a union, the node reached, and its key.
    """
    node, key_node = root, None
    steps: list[Any] = []
    for step in location:
        if isinstance(node, yaml.MappingNode):
            entries = {key.value: (value, key) for key, value in node.value}
            if step in entries:
                node, key_node = entries[step]
            elif "kind" in entries and entries["kind"][0].value == step:
                continue
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node, key_node = node.value[step], None
        steps.append(step)
    return steps, node, key_node


def _repeated_keys(node: yaml.Node, visited: set[int] | None = None) -> Iterator[_Fault]:
    visited = set() if visited is None else visited
    if id(node) in visited:
        return  # an alias: a few lines of aliases of aliases would else be walked for hours
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                mark = key.start_mark
                yield _Fault(mark.line + 1, mark.column + 1, f"{key.value!r} stands twice in the same section")
            seen.add(key.value)
            yield from _repeated_keys(value, visited)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value, visited)


def _known_fields(steps: list[Any]) -> set[str]:
    """Return the field names of the sections that a location may mean."""
    sections: list[type[BaseModel]] = [Plant]
    for step in steps:
        if isinstance(step, int):
            continue
        found = [
            inner
            for section in sections
            if step in section.model_fields
            for inner in _sections_in(section.model_fields[step].annotation)
        ]
        sections = found or sections
    return {name for section in sections for name in section.model_fields}


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections_in(argument)


def _suggestion(word: str, known: set[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are named {name!r}; each needs its own")


N = TypeVar("N", Line, Station, Product)


def _named(what: str, name: str, items: tuple[N, ...]) -> N:
    for item in items:
        if item.name == name:
            return item
    known = {item.name for item in items}
    raise PlantError(f"the plant has no {what} {name!r}{_suggestion(name, known)}; it has {', '.join(sorted(known))}")


def _anchored(plant: Plant, folder: Path) -> Plant:
    """Make relative paths absolute, as seen from the plant file's folder."""
    ledger = plant.storage.ledger
    if ledger.startswith("sqlite:///") and not Path(ledger.removeprefix("sqlite:///")).is_absolute():
        ledger = f"sqlite:///{folder / ledger.removeprefix('sqlite:///')}"
    objects = plant.storage.objects
    if objects is not None and "://" not in objects:
        objects = str(folder / objects)
    store = plant.storage.artifact_store
    if store is not None and "://" not in store:
        store = str(folder / store)
    storage = plant.storage.model_copy(update={"ledger": ledger, "objects": objects, "artifact_store": store})
    return _anchor_paths(plant.model_copy(update={"storage": storage}), folder)


T = TypeVar("T")


def _anchor_paths(section: T, folder: Path) -> T:
    anchored: Any = section
    if isinstance(section, tuple):
        anchored = tuple(_anchor_paths(item, folder) for item in section)
    elif isinstance(section, Section):
        # A product's artifact is anchored to storage.artifacts instead, by Plant.artifact_folder.
        names = type(section).model_fields.keys() - ({"artifact"} if isinstance(section, Product) else set())
        anchored = section.model_copy(update={name: _anchor_paths(getattr(section, name), folder) for name in names})
    elif isinstance(section, Path) and not section.is_absolute():
        anchored = folder / section
    return cast(T, anchored)


EXAMPLE = """\
# A plant file: one site, its lines, and what they inspect. `neverblink plant check FILE` explains mistakes;
# `neverblink plant schema` prints a JSON Schema for editors.
site: plant-1

kafka:
  bootstrap: kafka-1:9092,kafka-2:9092,kafka-3:9092
  partitions: 48            # chosen once: more stations than partitions share them
  security:
    protocol: SASL_SSL
    ca_file: certificates/kafka-ca.pem
    username: neverblink
    password_file: secrets/kafka-password

storage:
  artifacts: artifacts      # relative to this file
  ledger: sqlite:///ledger.db
  objects: s3://plant-1-frames   # images over payload.max_inline_bytes; or a folder that all hosts share

scorer:
  device: cpu               # or cuda
  max_batch: 8
  max_queue_delay_ms: 5

products:
  - name: pcb
    artifact: pcb-3         # artifacts/pcb-3, made by `neverblink fit`
    min_area_px: 9
    defects:                # once the artifact has a U-Net or a classifier
      reject_on: either     # anomaly score or known defect
      types:
        scratch: {taxonomy: surface, min_area_mm2: 0.2}

lines:
  - name: line-1
    timing:
      distance_to_gate_m: 2.0
      speed_m_s: 1.0        # 2 s from trigger to gate
      actuator_ms: 200
      plc_cycle_ms: 20
      margin_ms: 50         # leaves 1.73 s for a verdict
    plc:
      endpoint: opc.tcp://192.0.2.10:4840
      namespace_uri: http://example.com/line-1
      node: s="VisionReject"."{name}"
      slot_node: s="VisionReject"."Verdict"[{index}]
      security:
        certificate: certificates/neverblink.der
        key: secrets/neverblink-key.pem
        plc_certificate: certificates/plc-line-1.der
        username: neverblink
        password_file: secrets/plc-password
    stations:
      - name: top
        product: pcb
        source:             # or folder, video, rtsp, v4l2, simulated: docs/guides/cameras.md
          kind: genicam
          producer: /opt/camera-maker/lib/maker.cti
          serial: "24401234"
          nodes: {PixelFormat: Mono8, ExposureTime: 500, TriggerMode: On, TriggerSource: Line0}
        trigger: {kind: plc}
        payload: {format: png}
        mm_per_px: 0.08
        quality:            # made by `neverblink camera learn-limits`
          width: 1600
          height: 1200
          min_brightness: 0.191
          max_saturation: 0.0131
          min_sharpness: 232
"""
