"""Topics, rights and quotas as they should be on a cluster, what differs there, and bringing it there."""

from neverblink.kafka.rights.cluster import apply, differences
from neverblink.kafka.rights.differences import Difference, Mend
from neverblink.kafka.rights.grants import Grant, grants_of
from neverblink.kafka.rights.texts import as_commands, as_yaml

__all__ = ["Difference", "Grant", "Mend", "apply", "as_commands", "as_yaml", "differences", "grants_of"]
