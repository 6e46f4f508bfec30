"""The scorer: batches frames of all lines through one backbone and says what it thinks of each part."""
