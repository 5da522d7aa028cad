"""The entry point: which verb, and which exit code."""

import difflib
import logging
import os
import sys

from docstring_parser import parse as parse_docstring

from ..errors import InputError
from .errors import UsageError
from .parser import PROGRAM, call_verb
from .verbs import VERBS


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 1 bad input, 2 wrong usage, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # After each of its products torch's OpenMP (GNU's) keeps all cores spinning for milliseconds, which our own threads
    # wait for. This must be said before torch is loaded; a training step on two cores becomes a fifth faster.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for stream in (sys.stdout, sys.stderr):  # a text that the terminal cannot show must not end a batch
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("deepspeech_sparse").setLevel(logging.INFO)
    verb = next((verb for verb in VERBS if arguments[: len(verb.split())] == verb.split()), None)
    try:
        if verb is None:
            return without_verb(arguments)
        return call_verb(verb, arguments[len(verb.split()) :])
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its exit
        return 141
    except OSError as error:  # of stdout, above all; files have errors of their own
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return 1


def without_verb(arguments: list[str]) -> int:
    """Help and version, or a complaint about an unknown verb."""
    if arguments and arguments[0] == "--version":
        from .. import __version__

        print(f"{PROGRAM} {__version__}")
        return 0
    of_two = arguments[:1] in [verb.split()[:1] for verb in VERBS if " " in verb]  # `data check`, `lm build`
    if not arguments or (arguments[1:] if of_two else arguments)[:1] in ([], ["-h"], ["--help"]):
        print(usage())
        return 0 if arguments else 2
    both, first = " ".join(arguments[:2]), arguments[0]
    close = difflib.get_close_matches(both, VERBS, n=1) or difflib.get_close_matches(first, VERBS, n=1)
    raise UsageError(
        f"unknown verb {(both if of_two else first)!r}"
        + (f"; did you mean {close[0]!r}?" if close else "")
        + f"\n{usage()}"
    )


def usage() -> str:
    lines = [f"usage: {PROGRAM} VERB ... (each VERB has its own --help)", ""]
    lines += [f"  {verb:<14}{parse_docstring(function.__doc__).short_description}" for verb, function in VERBS.items()]
    return "\n".join(lines)
