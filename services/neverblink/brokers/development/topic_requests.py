"""Requests about the cluster and its topics: who we are, which topics there are, made, grown, deleted, described."""

from collections.abc import Callable, Mapping

from neverblink import telemetry
from neverblink.brokers.development.answers import NODE_ID, OK, Address, Answer
from neverblink.brokers.development.groups import Groups
from neverblink.brokers.development.protocol import ADVERTISED, Call, ErrorCode
from neverblink.brokers.development.topics import HONOURED, TopicRefused, Topics, check_name

_CLUSTER_ID = "neverblink-development"
_TOPIC_RESOURCE = 2
_BROKER_RESOURCE = 4
_FROM_DEFAULT = 5
_FROM_TOPIC = 1


class TopicRequests:
    """Answers what clients and administrators ask of the cluster."""

    def __init__(self, topics: Topics, groups: Groups, address: Callable[[], Address], *, auto_create: bool) -> None:
        self._topics = topics
        self._groups = groups
        self._address = address
        self._auto_create = auto_create
        self._log = telemetry.logger("broker")

    async def api_versions(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return which requests and versions are spoken."""
        code = refusal or (ErrorCode.NONE if call.version_known else ErrorCode.UNSUPPORTED_VERSION)
        return {
            **OK,
            "error_code": code,
            "api_versions": [
                {"api_key": key, "min_version": low, "max_version": high} for key, low, high in ADVERTISED
            ],
        }

    async def metadata(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return the one broker, and the topics that are asked for."""
        names: list[str] | None = call.body["topics"]
        if names is None or (call.version == 0 and not names):
            names = [topic.name for topic in self._topics]
        elif self._auto_create and call.body.get("allow_auto_topic_creation", True):
            self._create_missing(names)
        address = self._address()
        return {
            **OK,
            "brokers": [{"node_id": NODE_ID, "host": address.host, "port": address.port, "rack": None}],
            "cluster_id": _CLUSTER_ID,
            "controller_id": NODE_ID,
            "topics": [self._described_topic(name, refusal) for name in names],
        }

    def _described_topic(self, name: str, refusal: ErrorCode) -> Answer:
        topic = self._topics.get(name)
        code = refusal
        if not code:
            try:
                check_name(name)
            except TopicRefused as refused:
                code = refused.code
        if not code and topic is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return {
            "error_code": code,
            "topic": name,
            "is_internal": False,
            "partitions": [
                {
                    "error_code": ErrorCode.NONE,
                    "partition": index,
                    "leader": NODE_ID,
                    "replicas": [NODE_ID],
                    "isr": [NODE_ID],
                    "offline_replicas": [],
                }
                for index in range(len(topic.partitions) if topic is not None and not code else 0)
            ],
        }

    def _create_missing(self, names: list[str]) -> None:
        for name in names:
            if self._topics.get(name) is None:
                try:
                    self._topics.create(name, -1, -1, {})
                except TopicRefused as refused:
                    self._log.warning(f"the topic {name!r} is not made on first use: {refused}")

    async def create_topics(self, call: Call, refusal: ErrorCode) -> Answer:
        """Make topics."""
        only_check = bool(call.body.get("validate_only"))
        errors = []
        for wanted in call.body["create_topic_requests"]:
            name = wanted["topic"]
            assignment = wanted["replica_assignment"] or []
            settings = {one["config_key"]: one["config_value"] for one in wanted["configs"] or []}

            def create(
                name: str = name,
                partitions: int = len(assignment) or wanted["num_partitions"],
                replicas: int = len(assignment[0]["replicas"]) if assignment else wanted["replication_factor"],
                settings: dict[str, str] = settings,
            ) -> None:
                self._topics.create(name, partitions, replicas, settings, only_check=only_check)

            errors.append(_outcome(name, create, refusal))
        return {**OK, "topic_errors": errors}

    async def create_partitions(self, call: Call, refusal: ErrorCode) -> Answer:
        """Add partitions to topics."""
        only_check = bool(call.body["validate_only"])
        errors = []
        for wanted in call.body["topic_partitions"]:

            def extend(name: str = wanted["topic"], total: int = wanted["new_partitions"]["count"]) -> None:
                self._topics.extend(name, total, only_check=only_check)

            errors.append(_outcome(wanted["topic"], extend, refusal))
        return {**OK, "topic_errors": errors}

    async def delete_topics(self, call: Call, refusal: ErrorCode) -> Answer:
        """Delete topics, and what groups have committed for them."""
        codes = []
        for name in call.body["topics"] or []:
            code = refusal
            if not code:
                if self._topics.delete(name):
                    self._groups.forget_topic(name)
                else:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            codes.append({"topic": name, "error_code": code})
        return {**OK, "topic_error_codes": codes}

    async def describe_configs(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return the settings of topics and of the broker."""
        return {
            **OK,
            "resources": [
                self._described_config(one["resource_type"], one["resource_name"], one["config_names"], refusal)
                for one in call.body["resources"]
            ],
        }

    def _described_config(self, kind: int, name: str, only: list[str] | None, refusal: ErrorCode) -> Answer:
        code = refusal
        settings: dict[str, str] = {}
        given: Mapping[str, str] = {}
        if kind == _TOPIC_RESOURCE:
            topic = self._topics.get(name)
            if topic is None:
                code = code or ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                settings, given = topic.settings.described(), topic.settings.given
        elif kind == _BROKER_RESOURCE:
            settings = {
                "message.max.bytes": HONOURED["max.message.bytes"],
                "log.retention.ms": HONOURED["retention.ms"],
                "log.retention.bytes": HONOURED["retention.bytes"],
                "auto.create.topics.enable": str(self._auto_create).lower(),
            }
        else:
            code = code or ErrorCode.INVALID_REQUEST
        entries = [
            {
                "config_names": setting,
                "config_value": value,
                "read_only": kind != _TOPIC_RESOURCE,
                "is_default": setting not in given,
                "config_source": _FROM_TOPIC if setting in given else _FROM_DEFAULT,
                "is_sensitive": False,
                "config_synonyms": [],
            }
            for setting, value in sorted(settings.items())
            if not code and (not only or setting in only)
        ]
        return {
            "error_code": code,
            "error_message": None,
            "resource_type": kind,
            "resource_name": name,
            "config_entries": entries,
        }


def _outcome(name: str, work: Callable[[], None], refusal: ErrorCode) -> Answer:
    code, why = refusal, None
    if not code:
        try:
            work()
        except TopicRefused as refused:
            code, why = refused.code, str(refused)
    return {"topic": name, "error_code": code, "error_message": why}
