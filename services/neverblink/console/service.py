"""The console's service: opens its database, listens, and answers until it is told to stop."""

import asyncio
import secrets
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from neverblink import telemetry
from neverblink.console.access.accounts import make_first
from neverblink.console.access.attempts import Attempts
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.passwords import ONE_TIME_HOURS, Passwords, one_time
from neverblink.console.access.sessions import SessionRules
from neverblink.console.alarms.telling import telling
from neverblink.console.alarms.watching import AlarmWatch
from neverblink.console.app import guarded
from neverblink.console.desk import Desk
from neverblink.console.instruments import alarm_instruments, instruments
from neverblink.console.line.feed import Feed, LateRecords
from neverblink.console.line.live import Live
from neverblink.console.models.followed import FollowedModels
from neverblink.console.models.stock import ModelStock
from neverblink.console.reviews.followed import FollowedTopics
from neverblink.console.runs.book import Runs
from neverblink.events import ServiceReport
from neverblink.http_serving.asking import Asking
from neverblink.http_serving.server import HttpServer
from neverblink.kafka.followed_topic import FollowedTopic
from neverblink.plant import ConsoleSettings, Plant
from neverblink.plant.listening import on_loopback
from neverblink.records.evidence_store import EvidenceStore
from neverblink.service_life import Duty, keeping, supervise
from neverblink.service_life.standing import Parts, Standing, in_words, keep_standing

if TYPE_CHECKING:  # it takes a while to import, and most plants have none
    from neverblink.console.access.provider.login import Login

SECTION = "console"
_MOST_OPEN = 256
"""Connections beside those of the live pages; more are told to come back."""


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def first_password(access: AccessDatabase, now: datetime) -> str | None:
    """Make the first administrator where there is no account, and return the one-time password to print; else None."""
    password = one_time()
    with access.writing() as connection:
        made = make_first(connection, now, password)
    return None if made is None else password


async def serve(plant: Plant, access: AccessDatabase, stop: asyncio.Event, file: Path | None = None) -> None:
    """Answer until `stop` is set; the plant was read from `file`. Raises ServeError when it cannot listen."""
    settings = plant.console
    passwords = Passwords()
    records = LateRecords(plant.storage.ledger, answer_s=settings.query_s, most=settings.concurrent)
    ask = Asking(records, settings.concurrent, service="console")
    try:
        desk = desk_of(plant, access, passwords, ask, stop, file)
        server = HttpServer("console", guarded(desk), settings, section=SECTION, most=_MOST_OPEN + settings.viewers)
        telemetry.logger("console").info(f"the console listens at {server.address}")
        feed, topics = desk.live.feed, desk.topics
        assert topics is not None
        watch = AlarmWatch(desk.alarms, access, feed, ask, desk.clock, desk.services.conditions)
        reports = FollowedTopic(
            plant.kafka, ServiceReport, "word of the plant's services", desk.services.take,
            client_id="console-services", service="console",
        )  # fmt: skip
        standing = Standing("console", address=server.address)

        def parts() -> Parts:
            told = {"events": feed.kafka, "records": feed.database, "reviews": topics.trouble}
            return {name: in_words([trouble]) for name, trouble in told.items()}

        duties = [
            Duty("http", partial(server.run, stop), again=False),
            Duty("events", partial(feed.follow, stop)),
            Duty("records", partial(feed.count, stop)),
            Duty("alarms", partial(watch.run, stop)),
            Duty("reviews", partial(topics.follow, stop)),
            Duty("models", partial(desk.models.follow, stop)),
            Duty("standing", partial(keep_standing, standing, parts, stop)),
        ]
        try:
            async with (
                keeping("console", Duty("holds", feed.holds.follow), Duty("services", reports.follow)),
                telling(plant, desk.zone, alarm_instruments()) as teller,
            ):
                desk.alarms.tell = teller.tell
                await supervise("console", [*duties, Duty("telling", partial(teller.run, stop))], stop)
        finally:
            server.close()
            desk.stock.close()
    finally:
        ask.close()
        records.close()
        passwords.close()


def desk_of(
    plant: Plant,
    access: AccessDatabase,
    passwords: Passwords,
    ask: Asking,
    stop: asyncio.Event,
    file: Path | None = None,
) -> Desk:
    """Return what requests are answered from."""
    settings, measured = plant.console, instruments()
    return Desk(
        plant=plant,
        access=access,
        passwords=passwords,
        attempts=Attempts(time.monotonic),
        rules=rules_of(settings),
        zone=ZoneInfo(plant.time_zone()),
        clock=utc_now,
        secret=secrets.token_bytes(32),
        # Beyond this machine without TLS of ours stands a proxy that ends it: cookies must not travel in clear.
        secure=settings.cert_file is not None or not on_loopback(settings.host),
        measured=measured,
        ask=ask,
        live=Live(Feed(plant, ask, utc_now), settings.viewers, utc_now, measured),
        store=None if plant.records.evidence.store is None else EvidenceStore(plant.records.evidence.store),
        stop=stop,
        runs=Runs(settings.work),
        plant_file=file,
        topics=FollowedTopics(plant, utc_now),
        models=FollowedModels(plant),
        stock=ModelStock(plant),
        login=_login_of(settings),
    )


def _login_of(settings: ConsoleSettings) -> "Login | None":
    if settings.oidc is None:
        return None
    from neverblink.console.access.provider.login import Login

    return Login(settings.oidc, utc_now)


def rules_of(settings: ConsoleSettings) -> SessionRules:
    """Return after which times sessions lock and end."""
    return SessionRules(timedelta(minutes=settings.lock_min), timedelta(hours=settings.session_h))


def told_first(password: str) -> str:
    """Return what the first start prints."""
    return (
        f"The console has no account yet, so it has made one: sign in as admin with the one-time password {password}"
        f" within {ONE_TIME_HOURS} hours, and choose your own."
    )
