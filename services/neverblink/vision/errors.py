"""What can go wrong with images, weights and artifacts, said in sentences."""


class VisionError(ValueError):
    """An input that the vision room cannot work with; the message is one sentence for the person at fault."""
