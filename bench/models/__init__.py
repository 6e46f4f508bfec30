"""What the models find, how fast, and at what cost."""
