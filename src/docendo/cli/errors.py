"""What goes wrong, as one line on standard error and an exit code."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, Token, UnknownOptionError, UnusedCliTokensError
from cyclopts.exceptions import RepeatArgumentError, UnknownCommandError

from docendo.errors import DocendoError, Interrupted, nearest

WRONG = 2
"""Exit code where the user can put something right."""

CLOSED_PIPE = 141
"""Exit code where nobody reads the output any more, as shells know it."""


def guarded(command: Callable[[], Any]) -> int:
    """Run a command and turn what the user can put right into one line; anything unexpected keeps its traceback."""
    try:
        command()
        # Here, because a full disk or a closed pipe may show only when the last lines leave the buffer.
        sys.stdout.flush()
    except CycloptsError as error:
        return _say(sentence(error), WRONG)
    except DocendoError as error:
        return _say(str(error), WRONG)
    except Interrupted as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _say("stopped by Ctrl-C", 128 + signal.SIGINT)
    except BrokenPipeError:
        _finish_output()
        return CLOSED_PIPE
    except OSError as error:
        _finish_output()
        return _say(_of_the_system(error), WRONG)
    return 0


def sentence(error: CycloptsError) -> str:
    """Say in our words what is wrong with a command line."""
    command = " ".join(error.command_chain or ("docendo",))
    match error:
        case UnknownCommandError(unused_tokens=[word, *_]):
            dashed = word.startswith("-")
            known = [name for name in (error.app or ()) if name.startswith("-") == dashed]
            return f'unknown {"option" if dashed else "command"} "{word}"; {nearest(word, known)}'
        case UnknownOptionError():
            word = error.token.keyword or error.token.value
            names = [name for a in error.argument_collection for name in a.names if name.startswith("--")]
            return f"{command} has no option {word}; {nearest(word, names)}"
        case UnusedCliTokensError(unused_tokens=[word, *_]):
            return f'{command} does not know what to do with "{word}"; see docendo {command} --help'
        case MissingArgumentError(argument=argument) if argument is not None:
            if error.keyword is None:
                return f"{command} needs {argument.name}; see docendo {command} --help"
            return f"{error.keyword} needs a value after it"
        case RepeatArgumentError():
            return f"{error.token.keyword} is given twice: give it once"
        case CoercionError(token=token, target_type=hint) if token is not None and get_origin(hint) is Literal:
            return f'{token.keyword} is "{token.value}", but must be {" or ".join(get_args(hint))}'
    error.verbose = False
    return str(error)


def number(hint: Any, tokens: Sequence[Token]) -> Any:
    """Read a number: cyclopts itself would round 1.5 epochs to 2, and calls numbers by the names of Python's types."""
    kind, word = (int, "a whole number") if int in (hint, *get_args(hint)) else (float, "a number")
    token = tokens[0]
    try:
        return kind(token.value)
    except ValueError:
        raise DocendoError(f'{token.keyword} is "{token.value}", but must be {word}') from None


def _of_the_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error) or type(error).__name__
    cure = "; free some space, then try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{where}{what}{cure}"


def _say(message: str, code: int) -> int:
    print("docendo:", re.sub(r"\s*\n\s*", " ", message), file=sys.stderr, flush=True)
    return code


def _finish_output() -> None:
    """Write what is still in the buffer of standard output; if that fails, drop it, or Python complains at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
