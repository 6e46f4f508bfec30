"""The identity of a part as one header of a record whose value is a picture."""

from collections.abc import Mapping
from typing import Self

from pydantic import PrivateAttr, ValidationError

from neverblink.events.envelope import BinaryEvent, first_fault
from neverblink.events.parts import MAX_IDENTITY_BYTES, Identity


class IdentifiedPicture(BinaryEvent):
    """A picture of a part that carries the part's identity as the header `ce_identity`, JSON of at most 2 KiB.

    An identity that cannot be read never costs the part its judgement: it is left out, and `identity_fault` says why.
    """

    identity: Identity | None = None

    _identity_fault: str | None = PrivateAttr(default=None)

    @property
    def identity_fault(self) -> str | None:
        """Return what was wrong with the identity that came with the record, None when nothing was."""
        return self._identity_fault

    def _data(self) -> tuple[str, bytes, dict[str, str]]:
        content_type, body, fields = super()._data()
        if self.identity is not None:
            fields["identity"] = self.identity.as_json().decode()
        return content_type, body, fields

    @classmethod
    def _from_data(cls, attributes: Mapping[str, str], content_type: str, value: bytes) -> Self:
        others = {name: text for name, text in attributes.items() if name != "identity"}
        event = super()._from_data(others, content_type, value)
        if "identity" not in attributes:
            return event
        text = attributes["identity"]
        if len(text) > MAX_IDENTITY_BYTES:
            event._identity_fault = f"it has more than {MAX_IDENTITY_BYTES} bytes"
            return event
        try:
            return event.model_copy(update={"identity": Identity.model_validate_json(text)})
        except ValidationError as error:
            event._identity_fault = first_fault(error)
            return event
