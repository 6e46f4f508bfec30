"""Drift as a show: scenarios, verdicts drawn from distributions, a plot."""
