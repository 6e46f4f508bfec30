"""Service: how every station's verdicts are distributed, window by window, in event time."""
