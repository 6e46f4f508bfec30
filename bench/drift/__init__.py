"""Drift: how soon it is found, how often wrongly, and what watching costs."""
