"""The one error for bad input."""

import unicodedata

# Control characters, half characters, ends of lines and paragraphs; and those that turn the direction of what follows.
OBEYED = {"Cc", "Cs", "Zl", "Zp"}
TURNING = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class InputError(ValueError):
    """Something a user gave cannot be used; the message names the file, the value and the remedy.

    The command line prints it as `error: ...` and ends with exit code 1. Anything else that escapes is a bug of ours.
    """

    def __str__(self) -> str:
        """The message with control characters spelled out: it may quote a stranger's file, and terminals obey them."""
        return "".join(repr(letter)[1:-1] if is_obeyed(letter) else letter for letter in super().__str__())


def is_obeyed(letter: str) -> bool:
    """Whether a terminal would do something else than show it."""
    return letter not in "\n\t" and (letter in TURNING or unicodedata.category(letter) in OBEYED)
