"""A line from frame to gate: scorer, cameras, PLCs, and what they bear."""
