"""What `neverblink qualify` is asked to do. Nothing heavy is imported."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from neverblink.job_life.settings import JobSettings, Spelling


class QualifyJob(JobSettings):
    """What `neverblink qualify` is asked to do."""

    artifact: Annotated[str, Spelling(argument=True)] = Field(
        description="Artifact folder, its name under storage.artifacts, or its URL in the store."
    )
    product: str | None = Field(default=None, description="Whose golden set it judges. Default: the artifact's.")
    threshold: float | None = Field(
        default=None, gt=0, description="Score above which a part is rejected. Default: the artifact's own."
    )
    plant: Annotated[Path, Spelling(short="-p", envvar="NEVERBLINK_PLANT")] = Field(
        default=Path("plant.yaml"), description="Plant file: golden sets, rules, where reports are kept."
    )
    report: Annotated[Path | None, Spelling(metavar="FILE.html")] = Field(
        default=None, description="Write the page here too, and FILE.json beside it; it is kept in the store anyway."
    )
    by: str | None = Field(
        default=None, min_length=1, max_length=128, description="Who asks. Default: the user of this machine."
    )
    device: str | None = Field(
        default=None,
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="cpu, cuda or cuda:N. Default: the scorers', or cpu where this machine has no such GPU.",
    )
    engine: Literal["auto", "torch", "torch-cuda", "openvino"] | None = Field(
        default=None, description="What runs the backbone. Default: the scorers', where it runs on the device."
    )
