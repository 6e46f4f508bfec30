"""A folder or URL and nothing outside of it; frames' objects; files that are whole or not there."""
