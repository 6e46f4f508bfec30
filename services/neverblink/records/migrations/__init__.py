"""How a database of an older layout becomes one of today's: a revision each, run by `records.layout`."""
