"""Picture files, a module a format: what a file says of itself, whether it is whole, and its values."""
