"""Good images in, an artifact out; its threshold and what it learns later."""
