"""Which model scores what: shown, weighed against real history, and changed."""
