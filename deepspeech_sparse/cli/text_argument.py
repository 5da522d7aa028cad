"""A text on the command line: itself, or the file that holds it."""

from pathlib import Path

from ..errors import InputError


def given_text(text: str) -> str:
    """What is in the file `text` if that ends in .txt, else `text`.

    Raises:
        InputError: a file that is not there or no UTF-8 text
    """
    if not text.endswith(".txt") or "\0" in text:
        return text
    try:
        return Path(text).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{text}: cannot be read as UTF-8 text ({getattr(error, 'strerror', None) or error})"
        ) from error
