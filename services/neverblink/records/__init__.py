"""What is kept of every part, read by whoever asks: tables, migrations, rollups, questions."""
