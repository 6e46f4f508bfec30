"""Watches what becomes of reference parts, and raises an alarm where one passes or does not come."""
