"""Test rigs: what tests and benches share, imported as `rigs`."""
