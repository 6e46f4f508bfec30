"""The REST API of the records: read-only, for an MES."""
