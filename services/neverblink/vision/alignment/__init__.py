"""Parts that lie anyhow: where they lie, and what they look like upright."""
