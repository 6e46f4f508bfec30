"""Sentences for people that a page can say in their language."""

from collections.abc import Callable

from neverblink.errors import NeverblinkError


class SaidError(NeverblinkError, ValueError):
    """A refusal in a sentence with `%(name)s` places. Its first argument is found by the test of translations."""

    def __init__(self, sentence: str, **values: object) -> None:
        super().__init__(sentence % values)
        self.sentence = sentence
        self.values = values

    def in_words(self, gettext: Callable[[str], str]) -> str:
        """Return the sentence in a language."""
        return gettext(self.sentence) % self.values
