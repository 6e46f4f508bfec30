"""A new product in one sitting: pictures, what is odd among them, where to look, a model, its promise, the line."""
