"""Reference parts from a person's hand to the line: described in the plant's file, announced by an event."""
