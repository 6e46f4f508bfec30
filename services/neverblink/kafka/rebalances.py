"""Which partitions come to a member of a group, and which go, by our topics' names."""

from collections.abc import Awaitable, Callable, Mapping

from aiokafka import ConsumerRebalanceListener, TopicPartition

from neverblink.kafka.record import Partition


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Turns aiokafka's partitions into ours."""

    def __init__(self, short: Mapping[str, str]) -> None:
        self._short = short
        self.revoked: Callable[[set[Partition]], Awaitable[None]] | None = None

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Tell whoever asked, before the partitions go."""
        if self.revoked is not None:
            await self.revoked({(self._short[tp.topic], tp.partition) for tp in revoked})

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Take note of nothing: whoever reads asks which partitions are here."""
