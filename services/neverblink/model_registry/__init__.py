"""Which artifact scores what, and every change of it: async, and silent."""
