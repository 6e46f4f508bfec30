"""Jobs that pages start: each a process of its own with a folder, which outlives the console that started it."""
