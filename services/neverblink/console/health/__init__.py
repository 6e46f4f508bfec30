"""How the plant does: its services, and what waits for whom."""
