"""What a PLC of profile B or C knows of the parts on its belt: who was told as what, and what to answer. Pure."""

from collections import OrderedDict

from neverblink.plc.contract import MAIL_SLOTS, Code, TellStatus
from neverblink.plc.word import EPOCHS, MAIL_PARTS, NUMBERS, acknowledge, decode_mail, parts_behind

REMEMBERED = 64
CALLS = 16  # answers kept for calls that are repeated; two are under way at once


class ToldParts:
    """The parts of one epoch. Telling the same again changes nothing; a reject stands against a pass."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._last = 0
        self._codes: OrderedDict[int, int] = OrderedDict()
        self._handled = [0] * MAIL_SLOTS
        self._answered: OrderedDict[int, TellStatus] = OrderedDict()
        self.acks = [0] * MAIL_SLOTS

    def triggered(self, number: int) -> None:
        """Take a new part: nobody has spoken of it."""
        self._last = number
        self._codes[number] = Code.PENDING

    def decide(self, number: int) -> int:
        """Return the code that stands for the part now at the gate; from here on it is too late."""
        return self._codes.pop(number)

    def read_mail(self, slot: int, word: int) -> bool:
        """Take what lies in a mail slot; return whether it was a new mail, answered in `acks`."""
        if word in (0, self._handled[slot]):
            return False
        self._handled[slot] = word
        mail = decode_mail(word)
        behind = (self._last - mail.part) % MAIL_PARTS
        status = TellStatus.WRONG_EPOCH
        if mail.epoch == self._epoch % EPOCHS:
            status = self._tell(behind, mail.low)
        self.acks[slot] = acknowledge(word, status)
        return True

    def call(self, epoch: int, seq: int, number: int, code: int) -> TellStatus:
        """Take a call of the method. A seq that was answered before gets the same answer, and nothing happens."""
        if seq in self._answered:
            return self._answered[seq]
        status = TellStatus.WRONG_EPOCH
        if epoch == self._epoch:
            status = self._tell(parts_behind(self._last, number), code)
        self._answered[seq] = status
        if len(self._answered) > CALLS:
            self._answered.popitem(last=False)
        return status

    def _tell(self, behind: int, code: int) -> TellStatus:
        number = (self._last - behind) % NUMBERS
        if behind >= REMEMBERED:
            return TellStatus.UNKNOWN_PART
        if number not in self._codes:
            return TellStatus.TOO_LATE
        if not Code.PENDING < code <= 0xFF:
            return TellStatus.BAD_CODE
        if code == Code.PASS and self._codes[number] > Code.PASS:
            return TellStatus.ALREADY_TOLD
        self._codes[number] = code
        return TellStatus.ACCEPTED
