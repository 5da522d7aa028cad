"""What is wrong with a command line itself."""

from ..errors import InputError


class UsageError(InputError):
    """The command line itself is wrong: exit code 2."""
