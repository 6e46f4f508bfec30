"""A console that listens, and a browser of a person before it: as `rigs.served_console` has them."""

from rigs.served_console import chromium, listening, serious_faults, signed_in

__all__ = ["chromium", "listening", "serious_faults", "signed_in"]
