"""A camera at one place of a line: source, trigger, image quality, payload."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neverblink.events.parts import Name
from neverblink.plant.section import PlacedError, Section


class FolderSource(Section):
    """Image files of a folder and its sub-folders, in name order or shuffled."""

    kind: Literal["folder"] = Field(description="Image files of a folder.")
    path: Path = Field(description="Folder with PNG, JPEG, TIFF, WebP or BMP files.")
    shuffle: bool = Field(default=False, description="Draw the order from `seed` instead of the names.")
    loop: bool = Field(default=True, description="Start again after the last image.")
    seed: int = Field(default=0, ge=0, description="Another number is another order.")


class SimulatedSource(Section):
    """Drawn parts with drawn defects, the same ones for the same seed."""

    kind: Literal["simulated"] = Field(description="Drawn parts.")
    drawing: str = Field(description="Which drawing: `pcb` or `disc`.")
    seed: int = Field(default=1, ge=0, description="The same number draws the same parts.")
    defect_rate: float = Field(default=0.15, ge=0, le=1, description="Share of parts with a defect.")
    brightness: float = Field(default=1.0, gt=0, le=2, description="Light level; 1 is as fitted.")
    hidden_rate: float = Field(
        default=0.0, ge=0, le=1, description="Share of the defects that no picture shows, so that no model finds them."
    )


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

    kind: Literal["video"] = Field(description="A video file.")
    path: Path = Field(description="A file that FFmpeg reads: MP4, AVI, MKV.")
    pace: Literal["own-rate", "per-part"] = Field(
        default="own-rate", description="own-rate: plays like a camera. per-part: every trigger takes the next picture."
    )
    loop: bool = Field(default=True, description="Start again after the last picture.")


class RtspSource(LiveSettings):
    """A network camera: RTSP over TCP with H.264, H.265, MPEG-4 or JPEG, or motion JPEG over HTTP."""

    kind: Literal["rtsp"] = Field(description="A network camera.")
    url: str = Field(
        pattern=r"^(rtsps?|https?)://[^\s@]+$", description="rtsp://host:port/path, without user and password."
    )
    username: str | None = Field(default=None, description="User name at the camera.")
    password_file: Path | None = Field(default=None, description="File whose first line is the password.")
    silent_after_s: float = Field(
        default=5.0, gt=0, le=120, description="Without a picture for so long, the camera is connected anew."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the certificate of an rtsps or https camera, or of its issuer; None: the system's.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: give both or neither")
        return self


class V4l2Source(LiveSettings):
    """A USB camera or a frame grabber of this Linux machine."""

    kind: Literal["v4l2"] = Field(description="A camera of this machine.")
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

    kind: Literal["genicam"] = Field(description="An industrial camera by its maker's GenTL producer.")
    producer: Path = Field(description="The maker's GenTL producer, a .cti file, where its installer put it.")
    serial: str | None = Field(default=None, description="Serial number; None where the producer sees one camera only.")
    nodes: dict[str, bool | int | float | str] = Field(
        default={},
        description="Camera features to set before the start, in this order: ExposureTime: 500.",
        max_length=256,
    )


class GigeSource(LiveSettings):
    """A GigE Vision camera through Aravis, without a maker's producer."""

    kind: Literal["gige"] = Field(description="A GigE Vision camera by Aravis.")
    camera: str | None = Field(
        default=None,
        description="Address such as 192.0.2.9, or the name that arv-tool-0.8 lists; None: the first that answers.",
    )
    packet_size: int | None = Field(
        default=None,
        ge=220,
        le=65535,
        description="Bytes of a packet on the wire; None: the largest that the network lets through.",
    )
    packet_resend: bool = Field(default=True, description="Ask the camera again for packets that did not arrive.")
    packet_socket: bool = Field(
        default=False,
        description="Read packets past the kernel's UDP: less load at high rates; needs CAP_NET_RAW, and no loopback.",
    )
    software_trigger: bool = Field(
        default=False, description="The node fires the camera at each part's trigger, instead of letting it run."
    )
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

    kind: Literal["hardware"] = Field(description="The camera is fired from outside.")
    silent_after_s: float = Field(
        default=60.0, ge=1, le=86400, description="Without a picture for so long, a warning says so once."
    )


class TimerTrigger(Section):
    """One part per tick. For demonstrations and bench work: a line needs a photo-eye or an encoder."""

    kind: Literal["timer"] = Field(description="One part per tick.")
    rate_per_s: float = Field(default=1.0, gt=0, le=1000, description="Parts per second.")
    parts: int | None = Field(default=None, ge=1, description="Stop after so many.")


class PlcTrigger(Section):
    """The PLC triggers: a new value of LastTriggered is a new part, so part identity starts at the PLC."""

    kind: Literal["plc"] = Field(description="The PLC counts the parts.")
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
    jpeg_quality: int = Field(default=95, ge=50, le=100, description="Of jpeg: higher is larger and truer.")
    max_inline_bytes: int = Field(
        default=2 * 1024 * 1024,
        ge=1024,
        le=7 * 1024 * 1024,
        description="A larger image goes to storage.objects; without one it is refused.",
    )


class Station(Section):
    """One camera at one place of a line."""

    name: Name = Field(description="What people and records call the station.")
    product: Name = Field(description="Name of a product of this file.")
    source: Annotated[
        FolderSource | SimulatedSource | VideoSource | RtspSource | V4l2Source | GenicamSource | GigeSource,
        Field(discriminator="kind", description="Where its pictures come from."),
    ]
    trigger: Annotated[
        TimerTrigger | PlcTrigger | HardwareTrigger,
        Field(discriminator="kind", description="What says that a part is there."),
    ]
    quality: QualityLimits = Field(
        default=QualityLimits(), description="What a picture must be to be worth scoring; learn it per station."
    )
    payload: Payload = Field(default=Payload(), description="How its pictures travel.")
    mm_per_px: float | None = Field(default=None, gt=0, description="Scale of the image, for areas in mm².")
    depth: int | None = Field(
        default=None,
        ge=8,
        le=16,
        description="Bits that the values of this camera's 16-bit pictures use: 12 where white is 4095, 16 where they"
        " are aligned to the left. Without one here or at the product such pictures are refused.",
    )
    buffer_frames: int = Field(default=16, ge=1, le=1024, description="Frames waiting to be published at most.")

    @model_validator(mode="after")
    def _source_can_fire(self) -> Self:
        fires = isinstance(self.source, LiveSettings) and getattr(self.source, "pace", "") != "per-part"
        if self.trigger.kind == "hardware" and not fires:
            raise PlacedError(
                "trigger hardware needs a source that fires by itself (genicam, gige, v4l2, rtsp, or video with pace"
                f" own-rate); {self.source.kind} shows a picture when it is asked",
                "trigger",
            )
        if self.trigger.kind == "hardware" and isinstance(self.source, GigeSource) and self.source.software_trigger:
            raise PlacedError(
                "trigger hardware and source.software_trigger contradict one another: a camera that is fired by its"
                " photo-eye is not fired by the node; leave one of them out",
                "trigger",
            )
        return self
