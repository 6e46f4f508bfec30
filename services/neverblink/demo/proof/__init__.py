"""The demonstration of proof: a model that misses a known share, and what holdouts and people make known of it."""
