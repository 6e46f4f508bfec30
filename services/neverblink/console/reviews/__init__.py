"""What the page for reviewers is made of: its keys, what it asks and shows, what it counts."""
