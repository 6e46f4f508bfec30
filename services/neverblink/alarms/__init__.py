"""How people hear of an alarm besides the topic."""
