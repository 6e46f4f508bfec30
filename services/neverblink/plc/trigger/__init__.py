"""Triggers from the PLC, for ever: what began, broke or was loaded anew in between is told, and no part is left out."""

from neverblink.plc.trigger.endless import triggers
from neverblink.plc.trigger.part_counter import PartCounter, PlcTrigger

__all__ = ["PartCounter", "PlcTrigger", "triggers"]
