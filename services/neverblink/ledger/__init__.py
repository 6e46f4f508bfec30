"""Service: every verdict, actuation, review and drift report in SQL, where people can ask."""
