"""A plant that is watched: Prometheus, Alertmanager, what makes each alert fire and what ends it."""
