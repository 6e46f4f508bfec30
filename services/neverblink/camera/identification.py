"""Whose picture it is: what the PLC says of the part, and what the line's context says where the PLC is silent."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from opentelemetry.metrics import Counter
from pydantic import ValidationError

from neverblink import telemetry
from neverblink.camera.triggers import Trigger
from neverblink.events import Identity
from neverblink.events.context import ContextValues

# Of the time that is left for the part, so much may be spent on knowing what it is called.
_SHARE_OF_TIME_LEFT = 0.25


class Identified(NamedTuple):
    """Whose picture it is, None where nothing is known, and which reference part the PLC says that it is."""

    identity: Identity | None
    challenge: str | None = None


class Identification:
    """Makes the identity of a station's parts. What cannot be known is left out, counted and told."""

    def __init__(
        self,
        line: str,
        station: str,
        product: str,
        context: Callable[[Trigger], ContextValues | None],
        left_out: Counter,
    ) -> None:
        """`context` says what the line's context holds for a part."""
        self._labels = {"line": line, "station": station}
        self._product = product
        self._context = context
        self._left_out = left_out
        self._recurring = telemetry.Recurring(telemetry.logger("camera"))

    async def of(self, trigger: Trigger, left_s: float) -> Identified:
        """Return what is known of a part that has so much time left."""
        said = self._said(trigger)
        if trigger.reading is None:
            return Identified(said or None)
        read = await trigger.reading.result(max(0.0, left_s * _SHARE_OF_TIME_LEFT))
        self._tell(trigger.part, read.faults)
        found, fault = united(read.identity, said)
        if fault is not None:
            self._tell(trigger.part, {"attributes": fault})
        return Identified(found or None, read.challenge)

    def _said(self, trigger: Trigger) -> Identity:
        values = self._context(trigger)
        if values is None:
            return Identity()
        if values.product not in (None, self._product):
            self._recurring.tell(
                ("product", values.product),
                f"the context of {self._labels['line']} says product {values.product}, and station"
                f" {self._labels['station']} inspects {self._product}: it goes on inspecting {self._product}",
                fields=self._labels,
            )
        return values.identity

    def _tell(self, part: str, faults: Mapping[str, str]) -> None:
        for name, why in faults.items():
            fields = {**self._labels, "field": name}
            self._left_out.add(1, fields)
            self._recurring.tell(("identity", name), f"part {part} goes without its {name}: {why}", fields=fields)


def united(first: Identity, second: Identity) -> tuple[Identity, str | None]:
    """Return all that two sources say, `first` wins; what does not fit together is left out, with the reason."""
    fields = second.model_dump(exclude_none=True) | first.model_dump(exclude_none=True, exclude_defaults=True)
    try:
        return Identity.model_validate(fields | {"attributes": {**second.attributes, **first.attributes}}), None
    except ValidationError as error:
        why = f"what the PLC and the context say is too much together: {error.errors()[0]['msg']}"
    try:
        return Identity.model_validate(fields | {"attributes": first.attributes}), why
    except ValidationError:
        return first, why
