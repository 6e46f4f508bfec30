"""Answers for a scorer that is silent, shortly before a frame's deadline: the first verdict about a frame stands."""
