"""What `neverblink qualify` comes to. Nothing heavy is imported."""

from typing import Any

from pydantic import Field

from neverblink.job_life.results import JobResult


class QualifyResult(JobResult):
    """What `neverblink qualify` comes to; bad when the model must not score the product."""

    passed: bool = Field(description="Nothing speaks against letting the model score.")
    refused: str | None = Field(default=None, description="Why it must not score; null: it may.")
    product: str
    artifact: str = Field(description="Digest of the model.")
    threshold: float = Field(description="Score above which a part was rejected.")
    golden: str = Field(description="Digest of the golden set.")
    good: int = Field(description="Good golden parts.")
    good_rejected: int
    defects: int = Field(description="Defective golden parts.")
    escaped: int = Field(description="Of them, those that are not caught as they must be.")
    report: str = Field(description="Digest of the report, by which slots name it.")
    page: str = Field(description="Where the report's page lies; its figures lie beside it.")
    figures: dict[str, Any] = Field(description="The whole report.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know.")
