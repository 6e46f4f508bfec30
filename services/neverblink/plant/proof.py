"""How the plant proves, while its lines run, that inspection does what it promises."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from neverblink.events.parts import Name
from neverblink.plant.challenges import ChallengeSettings
from neverblink.plant.golden import GoldenSettings
from neverblink.plant.section import Section
from neverblink.plant.site import WebhookSettings

DEFAULT_SHARE = 0.01
_Share = Annotated[float, Field(ge=0, le=1)]


class HoldoutSettings(Section):
    """Which share of the parts people judge whatever the verdict: from them follows what escapes."""

    share: _Share | None = Field(
        default=None,
        description="Share of the parts of every product that is drawn; 0 draws none. None: 0.01 where there is a key,"
        " else none.",
    )
    products: dict[Name, _Share] = Field(
        default={},
        max_length=256,
        description="By product, another share. Where a line inspects several, its parts are drawn with the largest.",
    )
    key: Path = Field(
        default=Path("holdout.key"),
        description="File of the keys that parts are drawn with; `neverblink holdouts key` makes it. Who has it knows"
        " which parts are holdouts: the hosts with camera nodes need it, nobody else.",
    )

    @property
    def demanded(self) -> bool:
        """Say whether the plant file itself asks for holdouts: without a key it cannot have them."""
        return bool(self.share) or any(self.products.values())

    def share_of(self, products: "tuple[str, ...]") -> float:
        """Return with what share a part is drawn that is inspected as these products: the largest of theirs."""
        general = DEFAULT_SHARE if self.share is None else self.share
        return max((self.products.get(product, general) for product in products), default=general)


class AlarmSettings(Section):
    """Where people hear of an alarm, besides the topic, the log and `neverblink alarms`."""

    webhook: WebhookSettings | None = Field(default=None, description="Where alarms are posted; None: nowhere.")


class AuditSettings(Section):
    """Which share of the rejected parts people judge: from them follows how many rejects are good parts."""

    share: _Share = Field(
        default=1.0, description="Share of the rejected parts of every product that is put before people; 0: none."
    )
    products: dict[Name, _Share] = Field(default={}, max_length=256, description="By product, another share.")

    def share_of(self, product: str) -> float:
        """Return with what share the rejects of a product are drawn."""
        return self.products.get(product, self.share)


class ProofSettings(Section):
    """What is judged again, by people or with parts whose answer is known."""

    holdouts: HoldoutSettings = Field(
        default=HoldoutSettings(), description="Parts that people judge whatever the verdict."
    )
    audit: AuditSettings = Field(default=AuditSettings(), description="Rejects that people judge.")
    challenges: ChallengeSettings = Field(
        default=ChallengeSettings(), description="Reference parts that are sent down the running line."
    )
    alarms: AlarmSettings = Field(default=AlarmSettings(), description="Who is told of alarms besides the topic.")
    golden: GoldenSettings = Field(
        default=GoldenSettings(), description="Pictures with known answers that a model judges before it scores."
    )
