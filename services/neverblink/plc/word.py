"""The words that cross the wire. Each is one elementary UInt32, because PLCs keep only those consistent.

Part numbers are UInt32 and wrap; a word carries their lowest 20 bits, an epoch its lowest 4.
"""

from dataclasses import dataclass
from functools import lru_cache

from neverblink.plc.contract import Code, Confirm, GateCode, TellStatus

EPOCHS = 1 << 4
PARTS = 1 << 20
NUMBERS = 1 << 32
MAIL_PARTS = 1 << 16
SEQUENCES = 1 << 8


@dataclass(frozen=True, slots=True)
class VerdictWord:
    """A decoded verdict word: epoch mod 16, part mod 2^20, code 0…255."""

    epoch: int
    part: int
    code: int

    def is_for(self, epoch: int, number: int) -> bool:
        """Return whether the word speaks of this part of this epoch."""
        return self.epoch == epoch % EPOCHS and self.part == number % PARTS

    def releases(self, epoch: int, number: int) -> bool:
        """Return whether the gate may pass this part: the word is for it, and says pass."""
        return self.is_for(epoch, number) and self.code == Code.PASS


@dataclass(frozen=True, slots=True)
class GateEntry:
    """A decoded GateRing entry: part mod 2^20, what the gate did, what the sensor saw, epoch mod 16."""

    part: int
    action: int
    confirm: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Mail:
    """A decoded mail, or its acknowledgement: `low` is the code of the one, the status of the other."""

    seq: int
    part: int
    epoch: int
    low: int


def encode_verdict(epoch: int, number: int, code: int) -> int:
    """Return the verdict word of a part. Raises ValueError for a code outside 0…255."""
    if not 0 <= code <= 0xFF:
        raise ValueError(f"a verdict code has 8 bits; {code} does not fit")
    return epoch % EPOCHS << 28 | number % PARTS << 8 | code


def decode_verdict(word: int) -> VerdictWord:
    """Return what a verdict word says. Raises ValueError when it is no UInt32."""
    _must_be_uint32(word)
    return VerdictWord(word >> 28, word >> 8 & PARTS - 1, word & 0xFF)


def encode_gate(epoch: int, number: int, action: GateCode, confirm: Confirm) -> int:
    """Return the GateRing entry of a part."""
    return number % PARTS << 12 | action << 8 | confirm << 4 | epoch % EPOCHS


@lru_cache(1024)  # each entry is read about 16 times, and 16 of them ten times a second for every line
def decode_gate(entry: int) -> GateEntry:
    """Return what a GateRing entry says. Raises ValueError when it is no UInt32."""
    _must_be_uint32(entry)
    return GateEntry(entry >> 12, entry >> 8 & 0xF, entry >> 4 & 0xF, entry & 0xF)


def encode_mail(seq: int, epoch: int, number: int, code: int) -> int:
    """Return a mail word. Raises ValueError for a seq outside 1…255 or a code outside 1…15.

    Seq is never 0, so that no mail is the empty word.
    """
    if not 1 <= seq < SEQUENCES:
        raise ValueError(f"a mail's seq is 1 to 255; {seq} is not")
    if not 1 <= code <= 0xF:
        raise ValueError(f"a mail's code is 1 to 15; {code} is not")
    return seq << 24 | number % MAIL_PARTS << 8 | epoch % EPOCHS << 4 | code


def decode_mail(word: int) -> Mail:
    """Return what a mail or acknowledgement says. Raises ValueError when it is no UInt32."""
    _must_be_uint32(word)
    return Mail(word >> 24, word >> 8 & MAIL_PARTS - 1, word >> 4 & 0xF, word & 0xF)


def acknowledge(mail: int, status: TellStatus) -> int:
    """Return the acknowledgement of a mail: its own bits, with the status in place of the code."""
    _must_be_uint32(mail)
    return mail & ~0xF | status


def acknowledged(mail: int, ack: int) -> int | None:
    """Return the status that `ack` gives this very mail, None when it answers another one or none."""
    status = ack & 0xF
    return status if status and ack >> 4 == mail >> 4 else None


def next_seq(seq: int) -> int:
    """Return the seq after this one; 255 is followed by 1."""
    return seq % (SEQUENCES - 1) + 1


def parts_behind(latest: int, number: int) -> int:
    """Return how many parts `number` lies behind `latest`, 0…2^32−1; a number ahead appears as a huge one."""
    return (latest - number) % NUMBERS


def newest_number(part: int, latest: int) -> int:
    """Return the newest part number not ahead of `latest` whose lowest 20 bits are `part`."""
    return (latest - (latest - part) % PARTS) % NUMBERS


def _must_be_uint32(value: int) -> None:
    if not 0 <= value < NUMBERS:
        raise ValueError(f"a word is an unsigned 32-bit number; {value} is not")
