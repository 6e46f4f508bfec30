"""What is kept of models: their changes, their scores, and one in shadow against what scored."""
