"""Optuna's storages by address, opened so that several processes may begin at the same moment."""

from __future__ import annotations

import importlib.util
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from docendo.errors import DocendoError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL, SQLITE = "journal", "sqlite"
"""What to say instead of an address for a file in the folder of the study."""

_TRIES = 20


def need_optuna(what: str) -> None:
    """Insist on Optuna.

    Raises:
        DocendoError: if it is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise DocendoError(f"{what} needs Optuna: pip install 'docendo[study]'")


def open_storage(address: str, folder: Path) -> BaseStorage:
    """Open a storage, and make its tables if it is new.

    Args:
        address: "journal" or "sqlite" for a file in the folder, or an address as SQLAlchemy has them, such as
            postgresql://user@host/name.
        folder: of the study.

    Raises:
        DocendoError: no such kind of storage, a driver that is not installed, or nobody answers.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if address == JOURNAL:
        path = str(folder / "journal.log")
        # A lock by a file of its own: the usual one is a link, which from another folder points nowhere.
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    if address == SQLITE:
        address = f"sqlite:///{(folder / 'study.db').resolve()}"
    if "://" not in address:
        raise DocendoError(
            f'--storage is "{address}", but must be {JOURNAL}, {SQLITE} or an address such as postgresql://host/name'
        )
    return _patiently(lambda: _open_tables(address), address)


def _open_tables(address: str) -> BaseStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage

    if not address.startswith("sqlite"):
        driver = "postgresql+psycopg://"
        return RDBStorage(address.replace("postgresql://", driver, 1) if address.startswith("postgresql:") else address)
    # SQLite has no SELECT FOR UPDATE, by which a trial is claimed elsewhere: two could read that it is free before
    # either writes. So each transaction takes the lock for writing at its beginning, and waits for it.
    arguments = {"timeout": 60, "isolation_level": None}
    storage = RDBStorage(address, engine_kwargs={"connect_args": arguments})
    sqlalchemy.event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return storage


def _patiently(opened: Callable[[], BaseStorage], address: str) -> BaseStorage:
    """Try again where several processes make the same tables at once: all but one are refused, then they are there."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    for attempt in range(_TRIES):
        try:
            return opened()
        except (sqlalchemy.exc.DBAPIError, StorageInternalError) as error:
            if attempt == _TRIES - 1:
                raise unreachable(address, error) from error
            time.sleep(random.uniform(0.05, 0.2))
        except (ImportError, sqlalchemy.exc.ArgumentError) as error:
            raise DocendoError(
                f"--storage {without_password(address)} cannot be opened ({_short(error)}): install the driver of that "
                "database, or look at the address"
            ) from error
    raise AssertionError("not reached")


def unreachable(address: str, error: Exception) -> DocendoError:
    """Say that a storage does not answer."""
    return DocendoError(
        f"the storage {without_password(address)} does not answer ({_short(error.__cause__ or error)}): look "
        "whether it runs and whether you may use it; what is finished stays, and the same command goes on"
    )


def without_password(address: str) -> str:
    """Give an address as it may be shown.

    >>> without_password("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    start, at, rest = address.rpartition("@")
    scheme, _, user = start.partition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}:***{at}{rest}" if colon else address


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
