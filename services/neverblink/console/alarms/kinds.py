"""What alarms there are, each thought through beforehand: what follows when nobody acts, and how soon somebody must.

An alarm of a kind that is not here is shown as it came, with the priority that its severity has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from neverblink.console.alarms.state import Priority
from neverblink.console.language import N_

BY_SEVERITY: Final = MappingProxyType({"act": Priority.HIGH, "watch": Priority.MEDIUM})


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of an alarm that the console itself raises; `%(name)s` places are filled from its values."""

    what: str
    cause: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Kind:
    """`priority` is None where the event's severity says it, `words` where the event brings its own."""

    name: str
    consequence: str
    priority: Priority | None = None
    words: Words | None = None


_UNKNOWN: Final = Kind(N_("alarm"), N_("not known: this console does not know the kind"))

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "challenge-missed": Kind(
            N_("reference part missed"),
            N_("Defects like this one may be passing now, and since the last reference part that came out right."),
            Priority.URGENT,
        ),
        "challenge-unscored": Kind(
            N_("reference part not scored"),
            N_("The proof that the line sees its defects is missing for this time."),
        ),
        "challenge-absent": Kind(
            N_("reference part did not come"),
            N_("The proof that the line sees its defects is missing for this time."),
            Priority.MEDIUM,
        ),
        "challenge-unknown": Kind(
            N_("reference part unknown"),
            N_("What came cannot be compared with what should have come: this proof does not count."),
            Priority.MEDIUM,
        ),
        "drift": Kind(
            N_("drift"),
            N_("Pictures differ from those that the model was fitted to: it may miss defects, or reject good parts."),
        ),
        "let-by": Kind(
            N_("part let by"),
            N_("A part that was not passed has gone on to the next step."),
            Priority.URGENT,
            Words(
                N_("The gate of %(line)s let by a part that was not passed."),
                N_("The gate or its actuator did not do what the PLC was told."),
                N_("Stop the line, find the part and those behind it, and check the gate."),
            ),
        ),
        "gate-amiss": Kind(
            N_("gate acts by its own default"),
            N_("Good parts are rejected, and the line may stop by itself."),
            Priority.HIGH,
            Words(
                N_("The gate of %(line)s acted fail-safe, by an old word or without confirmation on several parts."),
                N_("Verdicts come too late for the gate, or its sensor does not confirm."),
                N_("Look at the time that is left before the deadline under Health, then at the gate's sensor."),
            ),
        ),
        "not-told": Kind(
            N_("PLC not told in time"),
            N_("Parts are rejected whose verdict may have been good."),
            Priority.HIGH,
            Words(
                N_("The PLC of %(line)s was told late or not at all of several parts."),
                N_("The connection to the PLC is slow or away, or verdicts come too late."),
                N_("Look at the bridge under Health, then at the network to the PLC."),
            ),
        ),
        "no-picture": Kind(
            N_("no usable picture"),
            N_("Parts are rejected because nobody has seen them."),
            Priority.HIGH,
            Words(
                N_("Several parts of %(line)s have no usable picture."),
                N_("The camera is away, out of focus or badly lit, or its trigger is late."),
                N_("Look at the newest parts without a score, then at camera and light."),
            ),
        ),
        "no-score": Kind(
            N_("parts not scored"),
            N_("Parts are rejected although they may be good."),
            Priority.HIGH,
            Words(
                N_("Several parts of %(line)s were not scored."),
                N_("The scorer is too slow or away, or has no model for this product."),
                N_("Look at the scorer under Health, and at the reason on the newest such part."),
            ),
        ),
        "service-silent": Kind(
            N_("service silent"),
            N_("What it does is not done: without camera, scorer or bridge every part of their lines is rejected."),
            Priority.HIGH,
            Words(
                N_("Nothing is heard of %(service)s on %(host)s."),
                N_("It has ended without saying so, its host is down, or it cannot reach Kafka."),
                N_("Look at the service and its log on that host, and start it."),
            ),
        ),
        "service-amiss": Kind(
            N_("service works in part"),
            N_("What it leaves out is not done."),
            Priority.HIGH,
            Words(
                N_("%(service)s on %(host)s does a part of its work only: not %(parts)s."),
                N_("What it needs is away or refuses it; Health has its own words."),
                N_("Read its own words under Health, and mend what they name."),
            ),
        ),
        "disk-full": Kind(
            N_("disk nearly full"),
            N_("Pictures are no longer kept, then records, and at last the service stops."),
            Priority.MEDIUM,
            Words(
                N_("The disk of %(folder)s on %(host)s has %(percent)s %% left."),
                N_("More is kept than the disk was made for, or something else fills it."),
                N_("See what fills it; delete nothing of ours by hand, but shorten what the plant file keeps."),
            ),
        ),
        "certificate-ends": Kind(
            N_("certificate ends"),
            N_("After that day the connection is refused, and what needs it stands still."),
            Priority.LOW,
            Words(
                N_("The certificate %(what)s on %(host)s is valid until %(day)s."),
                N_("Certificates end; nobody has made the next one yet."),
                N_("Make a new one before that day, and let the other side trust it."),
            ),
        ),
        "kafka-away": Kind(
            N_("Kafka away"),
            N_("The console sees no parts. Lines whose own services see the same reject every part."),
            Priority.HIGH,
            Words(
                N_("The console cannot read Kafka."),
                N_("The brokers or the network between are down, or the console has no right to read."),
                N_("See whether parts still come on the lines, then look at the brokers."),
            ),
        ),
        "records-away": Kind(
            N_("records away"),
            N_("Counts, reviews and reports stand still. Lines go on."),
            Priority.MEDIUM,
            Words(
                N_("The console cannot ask the records."),
                N_("The ledger's database is down, full or busy."),
                N_("Look at the database; the ledger keeps up by itself once it is back."),
            ),
        ),
    }
)


def kind_of(word: str) -> Kind:
    """Return what is known of a kind."""
    return KINDS.get(word, _UNKNOWN)


def priority_of(kind: str, severity: str) -> Priority:
    """Return how soon somebody must act; an alarm whose severity is a word that is not known is taken for high."""
    return kind_of(kind).priority or BY_SEVERITY.get(severity, Priority.HIGH)
