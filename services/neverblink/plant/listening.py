"""Where a service listens for people or programs: on this machine alone, or with TLS."""

from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from neverblink.plant.section import Section


def on_loopback(host: str) -> bool:
    """Say whether an address is of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Listening(Section):
    """An address and port, with TLS wherever other machines reach it."""

    TRAVELS: ClassVar[str] = "what is asked and answered"
    """What would travel in clear without TLS, in words."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253, description="Address to listen on.")
    port: int = Field(default=0, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    cert_file: Path | None = Field(default=None, description="PEM file of the server's certificate and its chain.")
    key_file: Path | None = Field(default=None, description="PEM file of the server's private key.")
    allow_insecure: bool = Field(
        default=False,
        description="Listen beyond this machine without TLS, as behind a proxy that ends TLS: secrets travel in clear.",
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both or neither")
        if self.cert_file is None and not self.allow_insecure and not on_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reached from other machines, where {self.TRAVELS} would travel in clear: give"
                " cert_file and key_file, or allow_insecure: true behind a proxy that ends TLS"
            )
        return self
