"""Which profile serves which PLC."""

from neverblink.bridge.mailbox import Mailbox
from neverblink.bridge.method_call import MethodCall
from neverblink.bridge.profile import Profile
from neverblink.bridge.verdict_table import VerdictTable
from neverblink.plant import Plc

_BY_NAME: dict[str, type[Profile]] = {"verdict-table": VerdictTable, "mailbox": Mailbox, "method": MethodCall}


def profile_of(plc: Plc) -> type[Profile]:
    """Return the profile that the plant file names."""
    return _BY_NAME[plc.profile]
