"""Command lines from signatures: keyword-only is a flag, the rest positional, and the docstring is the help."""

import dataclasses
import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser, get_loader, set_loader

from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..settings import add_flags, config_from_dict, overlaid, parse_yaml, read_yaml, refuse_unknown_keys
from .errors import UsageError
from .verbs import SHARED, VERBS

PROGRAM = "deepspeech-sparse"


def yaml_or_name(text: str, load=get_loader("yaml")):
    """A value as jsonargparse reads it, and the name of a file that is no UTF-8, for which YAML has no words."""
    try:
        return load(text)
    except UnicodeEncodeError:
        return text


set_loader("yaml", yaml_or_name, (yaml.YAMLError,))


def verb_parser(
    verb: str, settings: dict | None = None, *, helping: bool = False, arguments: Sequence[str] = ()
) -> ArgumentParser:
    """The parser of a verb: what is keyword-only is a flag, the rest is positional, all from its signature.

    Args:
        settings: of a verb with a config: what is known of it, which decides what its flags are; none leaves them out
        arguments: of the command line, which decide whether files may be left out
        helping: with the flags of a decoder, which are otherwise read by `split_decoder`
    """
    function = VERBS[verb]
    docstring = parse_docstring(function.__doc__)
    helps = {**SHARED, **{item.arg_name: item.description for item in docstring.params}}
    parser = ArgumentParser(prog=f"{PROGRAM} {verb}", description=docstring.short_description, exit_on_error=False)
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    for parameter in positional:
        if parameter.annotation is parameter.empty:  # a config: its fields become flags
            from ..training.config import RunConfig

            if settings is not None:
                parser.add_argument("--config", help=helps[parameter.name])
                add_flags(parser, RunConfig, settings)
        elif parameter.annotation in (list[Path], list[str]):
            # Not always "*": argparse would then take no files that stand behind a flag.
            few = "*" if parameter.default is not parameter.empty and "--microphone" in arguments else "+"
            kind = get_args(parameter.annotation)[0]
            parser.add_argument(parameter.name, nargs=few, type=kind, help=helps[parameter.name])
        elif parameter.default is not parameter.empty:
            parser.add_argument(
                parameter.name,
                nargs="?",
                type=parameter.annotation,
                default=parameter.default,
                help=helps[parameter.name],
            )
        else:
            parser.add_argument(parameter.name, type=parameter.annotation, help=helps[parameter.name])
    switches = [item for item in inspect.signature(function).parameters.values() if item.annotation is bool]
    for parameter in switches:
        parser.add_argument(f"--{parameter.name}", action="store_true", help=helps[parameter.name])
    skip = {parameter.name for parameter in (*positional, *switches)}
    if "decoder" in inspect.signature(function).parameters:
        skip.add("decoder")
        if helping:
            parser.add_argument("--decoder", type=DecoderConfig, default=DecoderConfig(), help=helps["decoder"])
    parser.add_function_arguments(function, as_group=False, skip=skip)
    for action in list(parser._actions):  # a verb's own flags are spelled --warm-up; --warm_up is understood too
        action.help = action.help or SHARED.get(action.dest)  # jsonargparse has read the docstring alone
        if action.dest in inspect.signature(function).parameters and "_" in action.dest:
            action.option_strings = [f"--{action.dest.replace('_', '-')}", *action.option_strings]
            parser._option_string_actions[action.option_strings[0]] = action
    return parser


def call_verb(verb: str, arguments: list[str]) -> int:
    parameters = inspect.signature(VERBS[verb]).parameters
    with_config = any(p.annotation is p.empty for p in parameters.values())
    settings, rest = split_config(arguments) if with_config else (None, arguments)
    decoder = None
    if "decoder" in parameters:
        decoder, rest = split_decoder(rest)
    helping = any(word in ("-h", "--help") or word.endswith(".help") for word in rest)
    parser = verb_parser(verb, settings if helping else None, helping=helping, arguments=rest)
    try:
        values = parser.instantiate(parser.parse_args(rest)).as_dict()  # vars() would mangle the name of `values`
    except ArgumentError as error:
        raise UsageError(with_nearest_flag(str(error), verb_parser(verb, settings, helping=True))) from error
    if with_config:
        from ..training.config import config_of

        values["config"] = config_of(settings, "config")
    if decoder is not None:
        values["decoder"] = decoder
    return VERBS[verb](**values) or 0


def split_config(arguments: list[str]) -> tuple[dict, list[str]]:
    """The settings in --config and in flags of its fields, as plain values, and the other arguments.

    Flags are read as YAML, so `--network.hidden 512`, `--augment.speed "[0.9, 1.1]"` and `--pruning null` say what
    they would say in a recipe, and everything is checked together.
    """
    from ..training.config import RunConfig

    known = {field.name for field in dataclasses.fields(RunConfig)}
    values: dict = {}
    flags = {}
    taken, rest = taken_flags(arguments, {"config", *known})
    for flag, text in taken:
        if flag == "config":
            values = read_yaml(text)
            refuse_unknown_keys(values, RunConfig, text)
        else:
            flags[flag] = plain_value(text)
    values = overlaid(values, flags)
    try:
        refuse_unknown_keys(values, RunConfig, "flags")  # what --config says has been checked, under its own name
    except InputError as error:
        raise UsageError(str(error)) from error
    return values, rest


def taken_flags(arguments: list[str], names: set[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Flags --NAME and --NAME.X with their values, in order, and the other arguments; NAME.help is one of those."""
    taken, rest = [], []
    words = iter(arguments)
    for word in words:
        flag, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or flag.split(".")[0] not in names or flag.endswith(".help"):
            rest.append(word)
            continue
        text = text if equals else next(words, None)
        if text is None:
            raise UsageError(f"--{flag} needs a value")
        taken.append((flag, text))
    return taken, rest


def split_decoder(arguments: list[str]) -> tuple[DecoderConfig, list[str]]:
    """What --decoder RECIPE and flags such as --decoder.alpha 0.5 say, and the other arguments."""
    values: dict = {}
    flags = {}
    taken, rest = taken_flags(arguments, {"decoder"})
    for flag, text in taken:
        if flag == "decoder":
            values = decoder_section(text)
        else:
            name = flag.removeprefix("decoder.")
            flags[name] = listed(text) if name == "hot_words" else plain_value(text)
    try:
        return config_from_dict(overlaid(values, flags), "--decoder", DecoderConfig), rest
    except InputError as error:
        raise UsageError(str(error)) from error


def listed(text: str) -> list[str]:
    """The phrases in `[new york, no]`, or the one in `new york`; none is anything else to YAML."""
    inside = text.strip()
    inside = inside[1:-1] if inside.startswith("[") and inside.endswith("]") else inside
    return [unquoted(phrase.strip()) for phrase in inside.split(",") if phrase.strip()]


def unquoted(text: str) -> str:
    """Without quotes around it; an apostrophe at one end belongs to the word."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def decoder_section(path: str) -> dict:
    """Of a recipe, or of the config.yaml of a run."""
    section = read_yaml(path).get("decoder")
    if not isinstance(section, dict):
        raise InputError(f"{path}: has no section decoder; `lm tune` writes one, or give flags such as --decoder.lm")
    refuse_unknown_keys(section, DecoderConfig, path, "decoder")
    return section


def plain_value(text: str):
    """A flag's value as YAML reads it; a text stays as it was typed."""
    try:
        value = parse_yaml(text)
    except (yaml.YAMLError, UnicodeEncodeError):  # the latter: a name that is no UTF-8
        return text
    return text if isinstance(value, str) else value


def with_nearest_flag(message: str, parser: ArgumentParser) -> str:
    """Add "did you mean" to a complaint about a flag that does not exist."""
    flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
    for word in message.replace("=", " ").split():
        if word.startswith("--") and word not in flags:
            close = difflib.get_close_matches(word, flags, n=1)
            return f"{message}; did you mean {close[0]}?" if close else message
    return message
