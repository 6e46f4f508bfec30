"""What a test does where Apache Kafka cannot run."""

import os
from typing import NoReturn

import pytest

from neverblink.brokers.apache import KafkaUnavailable

REQUIRED = "NEVERBLINK_REQUIRE_KAFKA"


def without_kafka(error: KafkaUnavailable) -> NoReturn:
    """Skip with the reason, or fail where Apache Kafka is required."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1 and Apache Kafka cannot run: {error}", pytrace=False)
    pytest.skip(str(error))
