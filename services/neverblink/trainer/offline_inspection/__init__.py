"""Judging images without a line: folders, files, topics."""
