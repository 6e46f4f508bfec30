"""What a model promises, what that costs, and what it means for whoever decides."""
