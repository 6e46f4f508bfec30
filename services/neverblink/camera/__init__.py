"""The camera node: trigger, source, quality gate, deadline, publish."""
