"""Questions to the records. Each returns frozen rows."""
