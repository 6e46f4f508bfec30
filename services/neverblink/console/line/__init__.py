"""The lines as they are now: what has come of the topics and the records, and who follows it live."""
