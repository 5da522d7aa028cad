"""The winner in a recipe: its `decoder` section is written as text, everything else stays byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..files import write_whole
from ..settings import config_to_dict, parse_yaml

ALWAYS = ("kind", "lm", "lexicon", "alpha", "beta", "beam_width")
# Its lines are indented; empty ones and comments at the margin belong to it if an indented one follows.
SECTION = re.compile(r"^(['\"]?)decoder\1:.*\r?\n(?:(?:[ \t]*\r?\n|#.*\r?\n)*[ \t]+\S.*\r?\n)*", re.MULTILINE)


def decoder_section(decoder: DecoderConfig, comment: str = "") -> str:
    """YAML of a decoder, what differs from the defaults and the usual fields, under an optional comment."""
    values = config_to_dict(decoder)
    default = config_to_dict(DecoderConfig())
    changed = [name for name, value in values.items() if name in ALWAYS or value != default[name]]
    section = {name: values[name] for name in changed if values[name] is not None}
    lines = yaml.safe_dump({"decoder": section}, sort_keys=False, allow_unicode=True)
    head, rest = lines.split("\n", 1)
    return f"{head}{f'  # {comment}' if comment else ''}\n{rest}"


def write_section(recipe: Path, section: str) -> None:
    """Replace the `decoder` section of a recipe, or append it; a file that is not there yet gets it alone.

    Raises:
        InputError: as `with_section`, or the recipe cannot be written
    """
    write_whole(recipe, with_section(recipe, section).encode())


def with_section(recipe: Path, section: str) -> str:
    """The text of a recipe with another `decoder` section.

    Raises:
        InputError: a recipe that cannot be read, or whose section is in a form that text cannot replace
    """
    try:
        before = recipe.read_bytes().decode("utf-8") if recipe.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{recipe}: cannot be read ({error}); give the path of a recipe") from error
    if before and not before.endswith("\n"):
        before += "\n"
    text, found = SECTION.subn(lambda _: section, before, count=1)
    text = text if found else before + section
    try:
        right = parse_yaml(text) == {**(parse_yaml(before) or {}), **parse_yaml(section)}
    except (yaml.YAMLError, TypeError):  # no mapping
        right = False
    if not right:
        raise InputError(
            f"{recipe}: its decoder section cannot be replaced as text; write it as an indented block, or put this "
            f"there by hand:\n{section}"
        )
    return text
