"""python librdkafka.py read BOOTSTRAP COUNT TOPIC…, or write BOOTSTRAP TOPIC CODEC: as read.mjs and write.mjs."""

import base64
import json
import os
import sys
from typing import Any

from confluent_kafka import Consumer, Producer


def read(bootstrap: str, count: int, topics: list[str]) -> None:
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": f"mes-{os.getpid()}", "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })  # fmt: skip
    consumer.subscribe(topics)
    while count > 0:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error() is not None:
            raise RuntimeError(str(message.error()))
        sys.stdout.write(json.dumps(told(message)) + "\n")
        count -= 1
    consumer.close()


def told(message: Any) -> dict[str, object]:
    headers = [[name, value.decode()] for name, value in message.headers()]
    is_json = ["content-type", "application/json"] in headers
    return {
        "topic": message.topic(),
        "key": message.key().decode(),
        "headers": headers,
        "value": base64.b64encode(message.value()).decode(),
        "data": json.loads(message.value()) if is_json else None,
    }


def write(bootstrap: str, topic: str, codec: str) -> None:
    # Its own default places keys by CRC32; every other client, and who reads by key, by murmur2.
    producer = Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True,
        "partitioner": "murmur2_random",
    })  # fmt: skip
    for line in sys.stdin:
        record = json.loads(line)
        headers = [(name, value.encode()) for name, value in record["headers"]]
        value = base64.b64decode(record["value"])
        producer.produce(topic, value=value, key=record["key"], headers=headers)
    if producer.flush(30):
        raise RuntimeError("not all was sent")


if __name__ == "__main__":
    what, bootstrap, *rest = sys.argv[1:]
    if what == "read":
        read(bootstrap, int(rest[0]), rest[1:])
    else:
        write(bootstrap, *rest)
