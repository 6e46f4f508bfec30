"""A search for the recipe that finds the most defects at a promise, within a time budget."""
