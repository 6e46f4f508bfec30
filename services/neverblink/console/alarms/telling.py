"""Tells those who do not look at a page: every step to the webhook, what calls by mail, many calls in one letter."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import tzinfo
from typing import Any

from neverblink.alarms.mail import Letter, Mail, MailError
from neverblink.alarms.webhook import Webhook, WebhookError
from neverblink.console.alarms.book import Happened
from neverblink.console.alarms.state import Priority, Stage
from neverblink.console.alarms.words import said_of
from neverblink.console.instruments import AlarmInstruments
from neverblink.console.language import N_, SOURCE, speech
from neverblink.console.rendering import instant
from neverblink.console.words import PRIORITIES
from neverblink.http_serving.server import ServeError
from neverblink.plant import MailSettings, Plant
from neverblink.plant.mail import MailRecipient
from neverblink.service_life import wait_or_stop

MOST_IN_A_LETTER = 50
"""So many alarms are written out; of the others a letter says how many there are."""

_MOST_GATHERED = 1000


class AlarmTeller:
    """`tell` never waits; `run` writes the letters."""

    def __init__(
        self, plant: Plant, zone: tzinfo, measured: AlarmInstruments, webhook: Webhook | None, mail: Mail | None
    ) -> None:
        self._plant = plant
        self._zone = zone
        self._measured = measured
        self._webhook = webhook
        self._mail = mail
        self._gathered: list[Happened] = []

    def tell(self, happened: Happened) -> None:
        """Take one step of an alarm."""
        listed, step = happened.listed, happened.step
        self._measured.alarms.add(1, {"kind": listed.kind, "stage": step.stage, "severity": listed.priority.word})
        if self._webhook is not None:
            self._webhook.post(as_posted(self._plant.site, happened))
        if self._mail is not None and step.calls and len(self._gathered) < _MOST_GATHERED:
            self._gathered.append(happened)

    async def run(self, stop: asyncio.Event) -> None:
        """Write what has been gathered, until `stop` is set."""
        settings = self._plant.console.mail
        every_s = 1.0 if settings is None else settings.gather_s
        while not await wait_or_stop(stop, every_s):
            self.write()
        self.write()

    def write(self) -> None:
        """Write a letter to everybody whom something of what was gathered is for."""
        settings, gathered = self._plant.console.mail, self._gathered
        self._gathered = []
        if settings is None or self._mail is None or not gathered:
            return
        for recipient in settings.to:
            own = [one for one in gathered if is_for(one, recipient)]
            if own:
                language = self._plant.console.languages[0]
                self._mail.post(letter_of(own, recipient, settings, self._plant.site, language, self._zone))


@contextlib.asynccontextmanager
async def telling(plant: Plant, zone: tzinfo, measured: AlarmInstruments) -> AsyncIterator[AlarmTeller]:
    """Give who tells of alarms. Raises ServeError for a webhook or mail that cannot be used as it is set up."""
    settings = plant.console
    async with contextlib.AsyncExitStack() as stack:
        webhook: Webhook | None = None
        mail: Mail | None = None
        try:
            if settings.webhook is not None:
                sent, dropped = measured.webhook_sent, measured.webhook_dropped
                webhook = Webhook(settings.webhook, "console", "console.webhook", sent, dropped)
                await stack.enter_async_context(webhook)
            if settings.mail is not None:
                sent, dropped = measured.mail_sent, measured.mail_dropped
                mail = await stack.enter_async_context(Mail(settings.mail, "console", "console.mail", sent, dropped))
        except (WebhookError, MailError) as error:
            raise ServeError(str(error)) from error
        yield AlarmTeller(plant, zone, measured, webhook, mail)


def is_for(happened: Happened, recipient: MailRecipient) -> bool:
    """Say whether somebody wants to be told of an alarm."""
    listed = happened.listed
    if listed.priority < Priority[recipient.at_least.upper()]:
        return False
    return not recipient.lines or listed.line in recipient.lines


def letter_of(
    happened: Sequence[Happened],
    recipient: MailRecipient,
    settings: MailSettings,
    site: str,
    language: str,
    zone: tzinfo,
) -> Letter:
    """Return one letter about all of these, the worst first; an alarm that called twice stands in it once."""
    said = speech(language).gettext
    newest = {one.listed.number: one for one in happened}
    alarms = sorted(newest.values(), key=lambda one: (-one.listed.priority, one.at))
    worst = said(PRIORITIES[alarms[0].listed.priority.word])
    first = said_of(alarms[0].listed, said)
    subject = f"[{site}] {worst}: {first.name}"
    if first.place:
        subject += f", {first.place}"
    if len(alarms) > 1:
        subject = said(N_("[%(site)s] %(count)s alarms, the worst: %(worst)s")) % {
            "site": site,
            "count": len(alarms),
            "worst": f"{worst}, {first.name}",
        }
    text = "\n\n".join(_written(one, settings, said, zone) for one in alarms[:MOST_IN_A_LETTER])
    if len(alarms) > MOST_IN_A_LETTER:
        text += "\n\n" + said(N_("And %(count)s more.")) % {"count": len(alarms) - MOST_IN_A_LETTER}
    return Letter(recipient.address, subject, text + "\n", language)


def as_posted(site: str, happened: Happened) -> dict[str, Any]:
    """Return what the webhook is given of a step."""
    listed, step = happened.listed, happened.step
    said = said_of(listed, speech(SOURCE).gettext)
    return {
        "site": site,
        "alarm": listed.number,
        "kind": listed.kind,
        "line": listed.line,
        "station": listed.station,
        "about": listed.about,
        "stage": step.stage.value,
        "calls": step.calls,
        "state": listed.state.value,
        "priority": listed.priority.word,
        "at": happened.at.isoformat(),
        "since": listed.since.isoformat(),
        "who": listed.seen_by if step.stage in (Stage.ACKNOWLEDGED, Stage.SHELVED, Stage.UNSHELVED) else "",
        "name": said.name,
        "what": said.what,
        "cause": said.cause,
        "consequence": said.consequence,
        "next_step": said.next_step,
    }


def _written(happened: Happened, settings: MailSettings, said: Any, zone: tzinfo) -> str:
    listed = happened.listed
    words = said_of(listed, said)
    place = words.place or said(N_("whole plant"))
    lines = [
        f"{said(PRIORITIES[listed.priority.word]).upper()}: {words.name}, {place}",
        words.what,
        f"{said(N_('Do first'))}: {words.next_step}",
        f"{said(N_('Likely cause'))}: {words.cause}",
        f"{said(N_('If nobody acts'))}: {words.consequence}",
        f"{said(N_('Since'))}: {instant(listed.since, zone)}",
    ]
    if settings.address is not None:
        lines.append(f"{str(settings.address).rstrip('/')}/alarms/{listed.number}")
    return "\n".join(lines)
