"""What docendo says when something is wrong: one line with what, where, both values and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DocendoError(Exception):
    """A mistake that the user can put right; the command line prints its message on one line and exits with 2."""


class WiringError(DocendoError):
    """A method whose losses do not do what they say, found in its rehearsal."""


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop, saved its state and can go on; the message says how.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM, as shells expect.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        """Let another process hear of it."""
        return type(self), (str(self), self.exit_code)

    @classmethod
    def told_again(cls, error: KeyboardInterrupt, rest: str) -> Interrupted:
        """Say of the same stop who asked for it, and what there is to say besides.

        >>> Interrupted.told_again(KeyboardInterrupt(), "; all is saved").args
        ('stopped by Ctrl-C; all is saved',)
        """
        code = error.exit_code if isinstance(error, Interrupted) else 130
        return cls(f"stopped by {'Ctrl-C' if code == 130 else 'SIGTERM'}{rest}", code)


def nearest(name: str, known: Iterable[str]) -> str:
    """End an error about an unknown name: the nearest known name, or else all of them.

    >>> nearest("resnet21", ["resnet20", "wrn_16_2"])
    'did you mean "resnet20"?'
    >>> nearest("zebra", ["kd", "sftn"])
    'known: kd, sftn'
    """
    known = list(known)
    by_folded = {_fold(k): k for k in known}
    close = difflib.get_close_matches(_fold(name), by_folded, n=1, cutoff=0.6)
    return f'did you mean "{by_folded[close[0]]}"?' if close else f"known: {', '.join(known)}"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def wanted(message: str) -> str:
    """Take what a value should be out of what pydantic says of it.

    >>> wanted("Input should be greater than 0"), wanted("Input should be a valid boolean, unable to interpret input")
    ('greater than 0', 'true or false')
    """
    found = message.removeprefix("Value error, ").removeprefix("Input should be ").partition(", unable to")[0]
    ours = {"a valid boolean": "true or false", "a valid tuple": "a list such as [0, 1]"}
    return ours.get(found, found)
