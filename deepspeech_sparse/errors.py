"""The one error for bad input."""


class InputError(ValueError):
    """Something a user gave cannot be used; the message names the file, the value and the remedy.

    The command line prints it as `error: ...` and ends with exit code 1. Anything else that escapes is a bug of ours.
    """
