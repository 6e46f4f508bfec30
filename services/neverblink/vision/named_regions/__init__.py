"""Places of a part that have a name and a rule of their own: judged, ignored, or looked at for what must be there."""
