"""neverblink: inline visual inspection for factories with many production lines."""

__version__ = "0.1.0"
