"""Benchmarks: ratios against named baselines, run by hand from the project's folder: README.md beside this file."""
