"""A text on the command line: itself, or the file that holds it."""

from pathlib import Path

from ..errors import InputError


def given_text(text: str) -> str:
    """What is in the file `text` where that names a .txt file, else `text`.

    Raises:
        InputError: a file that is no UTF-8 text
    """
    if not text.endswith(".txt") or "\0" in text or not Path(text).is_file():
        return text
    try:
        return Path(text).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{text}: cannot be read as UTF-8 text ({error})") from error
