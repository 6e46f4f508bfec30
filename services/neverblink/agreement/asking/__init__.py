"""Asking: an appraiser in front of a page or a terminal, and the machine."""
