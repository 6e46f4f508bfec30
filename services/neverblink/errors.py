"""The one root of what is told to a person in a sentence."""


class NeverblinkError(Exception):
    """What went wrong, with which value, and what to do: `str(error)` is the sentence, and all that a person needs.

    The command line turns this class alone into a sentence and an exit code; any other exception is a bug and keeps
    its traceback.
    """
