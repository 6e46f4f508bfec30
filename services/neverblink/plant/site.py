"""What the whole site shares: Kafka, storage, and how scorers and the drift service run."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, HttpUrl, field_validator, model_validator

from neverblink.events.parties import PARTIES
from neverblink.events.parts import Name
from neverblink.events.topics import HOUR_MS, TOPICS
from neverblink.plant.section import Section, known_zone

# Kafka's tools and files take these characters for something else.
_NO_USER = re.compile(r"[*'\"\\\x00-\x1f\x7f]")


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
    security: KafkaSecurity = Field(
        default=KafkaSecurity(), description="How to reach a cluster that does not trust its network."
    )
    principals: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Who a service or a group of people is to the broker, for its rights, such as camera:"
        " ['User:CN=camera-1']. Default: User:PREFIX-NAME, such as User:neverblink-camera.",
    )

    @field_validator("principals")
    @classmethod
    def _parties(cls, given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, users in given.items():
            if name not in PARTIES:
                raise ValueError(f"there is nobody called {name!r}; there are {', '.join(PARTIES)}")
            for user in users:
                if not user.startswith("User:") or not 6 <= len(user) <= 250 or _NO_USER.search(user):
                    raise ValueError(f"{user!r} is no user of a broker: write User:NAME, such as User:CN=camera-1")
        return given

    def users_of(self, party: str) -> tuple[str, ...]:
        """Return who a party is to the broker, as its rights name it."""
        return self.principals.get(party) or (f"User:{self.topic_prefix}-{party}",)


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
        default=Path("model-cache"),
        description="Folder where a scorer keeps the models that it fetched, by digest, and the networks that it made"
        " ready for a CPU, so that its next start takes less than half.",
    )
    model_cache_mib: int = Field(
        default=8192,
        ge=1,
        le=16_777_216,
        description="MiB of models in it, and an eighth of that of networks; the longest unused are deleted first.",
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
        default=5.0,
        ge=0,
        le=1000,
        description="How long the oldest frame may wait for company at most; it waits only while other frames are being"
        " decoded and a larger batch takes less time a frame.",
    )
    max_queue_size: int = Field(default=256, ge=1, le=65536, description="Frames in hand at most.")
    max_queue_mib: int = Field(
        default=1024,
        ge=1,
        le=1_048_576,
        description="MiB of decoded images in hand, beyond which no frame is decoded. A quarter more may be held by"
        " late frames and shadow models.",
    )
    evidence_of_passes: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of passing parts that get a thumbnail, chosen by the frame's id. Rejects, unsure parts,"
        " parts with a defect, holdouts and challenges always have their evidence.",
    )
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
    session_s: float = Field(
        default=10.0,
        ge=6,
        le=1800,
        description="After so many seconds without a sign of life a scorer's stations go to another. Kafka takes 6 s to"
        " 30 min unless its broker is told otherwise; less than what a busy host stands still moves them for nothing.",
    )
    heartbeat_s: float = Field(
        default=0.5,
        ge=0.1,
        le=600,
        description="Seconds between a scorer's signs of life, by which it also learns that another has come or gone: a"
        " third of session_s at most.",
    )
    standby: Literal["all", "lines", "none"] = Field(
        default="all",
        description="Whose frames a scorer with time to spare answers for shortly before their deadlines, when the"
        " scorer that has them is silent: `all`, `lines` of which it scores a station itself, or `none`.",
    )

    @model_validator(mode="after")
    def _misses_two_heartbeats(self) -> Self:
        if 3 * self.heartbeat_s > self.session_s:
            raise ValueError(
                f"heartbeat_s is {self.heartbeat_s:g} and session_s {self.session_s:g}: a heartbeat or two must be able"
                " to get lost, so give a third of session_s at most"
            )
        return self


class WebhookSettings(Section):
    """Where alerts are posted as JSON, besides the topic."""

    url: HttpUrl = Field(description="Address that takes a POST of one alert.")
    header: str = Field(
        default="Authorization", pattern=r"^[A-Za-z0-9-]{1,64}$", description="Header that carries the secret."
    )
    header_file: Path | None = Field(default=None, description="File whose first line is that header's value.")
    timeout_s: float = Field(default=5.0, ge=0.1, le=60, description="How long one attempt may take.")
    attempts: int = Field(default=4, ge=1, le=10, description="Attempts, with growing pauses, until it is lost.")
    queue: int = Field(default=256, ge=1, le=65536, description="Alerts waiting at most; more are dropped.")


class DriftSettings(Section):
    """Windows, shifts and alerts of the drift service, in event time."""

    window_s: float = Field(default=60.0, ge=1, le=86400, description="Length of one window.")
    allowed_lateness_s: float = Field(default=10.0, ge=0, le=3600, description="How long a window waits.")
    shifts_begin_h: tuple[int, ...] = Field(
        default=(6, 14, 22), min_length=1, max_length=24, description="Hours of local time at which shifts begin."
    )
    time_zone: str = Field(default="UTC", description="Of the shifts, such as Europe/Berlin.")
    limit_factor: float = Field(
        default=1.0, ge=0.25, le=4, description="Widens all alert limits (above 1: fewer alerts, found later)."
    )
    webhook: WebhookSettings | None = Field(
        default=None, description="Where alerts are posted; None: on the topic alone."
    )

    @field_validator("shifts_begin_h")
    @classmethod
    def _ascending(cls, hours: tuple[int, ...]) -> tuple[int, ...]:
        if list(hours) != sorted(set(hours)) or not 0 <= hours[0] <= hours[-1] <= 23:
            raise ValueError("shifts begin at ascending hours from 0 to 23, such as [6, 14, 22]")
        return hours

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        return known_zone(name)
