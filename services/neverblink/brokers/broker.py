"""One interface for the brokers of one machine: the development broker and Apache Kafka on the local JVM."""

from types import TracebackType
from typing import Literal, Protocol, Self

from neverblink.brokers.apache import LocalKafka
from neverblink.brokers.development import BrokerError, DevelopmentBroker

BrokerName = Literal["development", "local"]


class Broker(Protocol):
    """A Kafka broker that this process starts and stops."""

    @property
    def name(self) -> str:
        """What kind of broker this is."""
        ...

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; several are separated by commas."""
        ...

    async def start(self) -> None:
        """Start and return when clients are served. Raises BrokerError."""
        ...

    async def stop(self) -> None:
        """Stop; records are gone."""
        ...

    async def __aenter__(self) -> Self:
        """Start."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        ...


def open_broker(name: BrokerName, port: int = 0) -> Broker:
    """Return a broker that is not started yet; port 0 takes a free one. Raises BrokerError."""
    if name == "development":
        return DevelopmentBroker(port=port)
    if name == "local":
        return LocalKafka(port=port)
    raise BrokerError(f"{name!r} is no broker for one machine: use development or local")
