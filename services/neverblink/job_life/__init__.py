"""How a job reports progress and speaks on a terminal."""
