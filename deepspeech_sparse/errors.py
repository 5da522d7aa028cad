"""The one error for bad input."""


class InputError(ValueError):
    """Something a user gave cannot be used; the message names the file, the value and the remedy.

    The command line prints it as `error: ...` and ends with exit code 1. Anything else that escapes is a bug of ours.
    """

    def __str__(self) -> str:
        """The message with control characters spelled out: it may quote a stranger's file, and terminals obey them."""
        shown = (
            letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in super().__str__()
        )
        return "".join(shown)
