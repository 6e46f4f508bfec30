"""Pages for people: charts, galleries, figures as they are read."""
