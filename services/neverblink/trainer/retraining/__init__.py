"""A challenger from confirmed parts, tried against the champion."""
