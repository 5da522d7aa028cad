"""Dataclasses as settings: from YAML, plain values and flags, and back, with unknown keys refused."""

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser

from .errors import InputError

Config = TypeVar("Config")


def config_from_dict(values: dict, source: str | Path, kind: type[Config]) -> Config:
    """A config from nested plain values, as YAML, a checkpoint or a model file holds them.

    Raises:
        InputError: unknown key (names the nearest valid one), wrong type, impossible value
    """
    if not isinstance(values, dict):
        raise InputError(f"{source}: expected a mapping of settings, got {type(values).__name__}")
    refuse_unknown_keys(values, kind, source)
    return built(values, kind, source, "")


def built(values: dict, kind: type, source: str | Path, place: str) -> Any:
    """A dataclass from plain values, those inside it first; jsonargparse checks and converts what is no dataclass.

    Not all at once by jsonargparse: where a field may be one of several dataclasses, it lends the defaults of one to
    another, and a lottery would end where a Narang schedule does.
    """
    hints = get_type_hints(kind)
    parts: dict[str, Any] = {}
    parser = ArgumentParser(exit_on_error=False)
    for name, value in values.items():
        inside = f"{place}.{name}" if place else name
        if value is None:
            refuse_null(hints[name], source, inside)
            parts[name] = None
        elif dataclasses_in(hints[name]):
            parts[name] = built_inside(value, hints[name], source, inside)
        else:
            parser.add_argument(f"--{name}", type=hints[name])
    needed = [item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]
    if missing := [f"{place}.{name}" if place else name for name in needed if name not in values]:
        raise InputError(f"{source}: {' and '.join(missing)} must be given, in a recipe (--config) or as a flag")
    try:
        plain = {name: value for name, value in values.items() if name not in parts}
        parts |= vars(parser.instantiate(parser.parse_object(plain)))
        return kind(**parts)
    except (ArgumentError, InputError, TypeError) as error:
        problem = str(error).replace('Parser key "', f'key "{place}.' if place else 'key "')
        raise InputError(f"{source}: {problem}") from error


def built_inside(value: Any, hint: Any, source: str | Path, place: str) -> Any:
    """The dataclass, or the tuple of them, that a field holds.

    Nothing but a mapping is taken for a dataclass: from a text jsonargparse would read a file or import a module, and
    model files come from strangers.
    """
    if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        return tuple(built_inside(item, get_args(hint)[0], source, f"{place}[{i}]") for i, item in enumerate(value))
    kinds = dataclasses_in(hint)
    if get_origin(hint) is not tuple and isinstance(value, tuple(kinds)):
        return value
    if get_origin(hint) is tuple or not isinstance(value, dict):
        wanted = "a list of mappings" if get_origin(hint) is tuple else "a mapping"
        raise InputError(f"{source}: {place} is {value!r}; give {wanted} of settings")
    return built(value, variant(value, kinds, source, place), source, place)


def refuse_null(hint: Any, source: str | Path, place: str) -> None:
    """InputError where a type does not have None among its own; jsonargparse takes null for any type."""
    if type(None) not in get_args(hint):
        raise InputError(f"{source}: {place} is null; give a value, or leave it out for the default")


def dataclasses_in(hint: Any) -> list[type]:
    """The dataclasses of a type: X itself, or those in X | None, X | Y, tuple[X, ...]."""
    return [part for part in (hint, *get_args(hint)) if is_dataclass(part)]


def config_to_dict(config: Any) -> Any:
    """Nested plain values (dict, list, str, number, bool, None) that `config_from_dict` takes back."""
    if is_dataclass(config):
        return {item.name: config_to_dict(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, (list, tuple)):
        return [config_to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def differences(before: object, now: object, place: str = "") -> list[str]:
    """Where two nested plain values differ, as "place: before -> now"."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [
            line
            for key in keys
            for line in differences(before.get(key), now.get(key), f"{place}.{key}" if place else str(key))
        ]
    return [] if before == now else [f"{place}: {before} -> {now}"]


def add_flags(parser: ArgumentParser, kind: type[Config], values: dict) -> None:
    """Make the fields of `kind` flags of `parser`, for its --help.

    A field that is one of several dataclasses, such as `network`, shows the settings of the one that `values` mean.
    """
    choices = {name: dataclasses_in(hint) for name, hint in get_type_hints(kind).items()}
    choices = {name: kinds for name, kinds in choices.items() if len(kinds) > 1}
    parser.add_class_arguments(kind, None, skip=set(choices))
    helps = {item.arg_name: item.description for item in parse_docstring(kind.__doc__).params}
    for name, kinds in choices.items():
        given = values.get(name)
        chosen = variant(given if isinstance(given, dict) else {}, kinds, "flags", name)
        parser.add_argument(f"--{name}", type=chosen, default=chosen(), help=helps[name])


def overlaid(values: dict, changes: dict[str, Any]) -> dict:
    """Nested plain values with some of them replaced, named with dots: {"network.hidden": 64}."""
    result = copy.deepcopy(values)
    for name, value in changes.items():
        *path, last = name.split(".")
        place = result
        for part in path:
            if not isinstance(place.get(part), dict):
                place[part] = {}
            place = place[part]
        place[last] = value
    return result


class Loader(yaml.SafeLoader):
    """YAML 1.1 but for numbers to the base of 60, in which the pattern 2:4 is 124."""


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":int", ":float"))]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
REAL = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
Loader.add_implicit_resolver("tag:yaml.org,2002:int", INTEGER, list("-+0123456789"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", REAL, list("-+0123456789."))


def parse_yaml(text: str) -> Any:
    """Plain values from YAML; never an object of a class."""
    return yaml.load(text, Loader)  # a SafeLoader


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file."""
    try:
        values = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    return values or {}


def refuse_unknown_keys(values: Any, expected: Any, source: str | Path, place: str = "") -> None:
    """InputError for the first key that `expected`, a dataclass or a type made of dataclasses, does not have."""
    kinds = dataclasses_in(expected)
    if not kinds:
        return
    if isinstance(values, (list, tuple)):
        for index, value in enumerate(values):
            refuse_unknown_keys(value, kinds[0], source, f"{place}[{index}]")
        return
    if not isinstance(values, dict):
        return  # a wrong type: said when it is built
    hints = get_type_hints(variant(values, kinds, source, place))
    for key, value in values.items():
        name = f"{place}.{key}" if place else str(key)
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise InputError(
                f"{source}: unknown key {name}; did you mean {re.sub(r'[^.]*$', '', name)}{close[0]}? "
                f"Known here: {', '.join(hints)}"
            )
        refuse_unknown_keys(value, hints[key], source, name)


def variant(values: dict, kinds: Sequence[type], source: str | Path, place: str) -> type:
    """The one of several dataclasses that `values` means, told by their first field: a Literal of its own name.

    Example: Narang starts with `method: Literal["narang"] = "narang"`, Cubic with `method: Literal["cubic"]`; without
    a `method`, Narang is meant.
    """
    if len(kinds) == 1:
        return kinds[0]
    key = fields(kinds[0])[0].name
    names = {get_args(get_type_hints(kind)[key])[0]: kind for kind in kinds}
    default = next((name for name, kind in names.items() if fields(kind)[0].default is not MISSING), None)
    chosen = values.get(key, default)
    if not isinstance(chosen, str) or chosen not in names:
        raise InputError(f"{source}: {place}.{key} is {chosen!r}; choose one of {', '.join(names)}")
    return names[chosen]


def short(value: Any) -> str:
    """A plain value as part of a folder's name, and in the settings of a row.

    Example:
        >>> short([0.9, 1.1]), short({"method": "narang", "every": 20})
        ('0.9x1.1', 'narang-20')
    """
    if isinstance(value, dict):
        return "-".join(short(part) for part in value.values())
    return "x".join(map(short, value)) if isinstance(value, list) else str(value)
