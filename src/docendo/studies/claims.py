"""Who does which run of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Claims(Protocol):
    """Who does which run."""

    def claim(self, names: Iterable[str]) -> str | None:
        """Claim the first of these runs that nobody else has; None if there is none."""

    def settle(self, name: str, failure: str | None) -> None:
        """Tell the others that a claimed run is finished, or why it failed."""

    def drop(self, name: str) -> None:
        """Give a claimed run back."""

    def has_lost(self, name: str) -> bool:
        """Say whether others took a claimed run over, as they took this worker for dead."""

    def failures(self) -> Mapping[str, str]:
        """Give the reasons why runs of others failed, by name."""

    def close(self) -> None:
        """Give back what was claimed and not settled."""


class Alone:
    """Nobody else is there."""

    def claim(self, names: Iterable[str]) -> str | None:
        """Take the first."""
        return next(iter(names), None)

    def settle(self, name: str, failure: str | None) -> None:
        """Tell nobody."""

    def drop(self, name: str) -> None:
        """Do nothing."""

    def has_lost(self, name: str) -> bool:
        """Say no."""
        return False

    def failures(self) -> Mapping[str, str]:
        """Give none."""
        return {}

    def close(self) -> None:
        """Do nothing."""
