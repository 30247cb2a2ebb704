"""Who does which run, through an Optuna storage: nothing twice, nothing lost."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage

from docendo.errors import DocendoError
from docendo.studies import signs
from docendo.studies.presence import Presence
from docendo.studies.shared import Shared, title_of
from docendo.studies.storage import open_storage

Come = Callable[..., tuple[Shared, Presence]]


@pytest.fixture
def come(tmp_path: Path) -> Iterator[Come]:
    """Let a worker come to the study in this folder."""
    there: list[tuple[Shared, Presence]] = []

    def come(beat: float = 60.0, grace: float = 60.0) -> tuple[Shared, Presence]:
        presence = Presence(tmp_path, alone=False)
        presence.enter()
        there.append((Shared("journal", tmp_path, presence, beat=beat, grace=grace), presence))
        return there[-1]

    yield come
    for claims, presence in there:
        claims.close()
        presence.leave()


def test_a_run_is_claimed_by_one(come: Come) -> None:
    (one, _), (other, _) = come(), come()
    assert one.claim(["a", "b"]) == "a"
    assert other.claim(["a", "b"]) == "b"
    assert one.claim(["a", "b"]) is None
    one.settle("a", None)
    assert other.claim(["a"]) is None
    assert other.claim(["c"]) == "c"


def test_a_failure_is_known_to_all_and_tried_again_by_who_comes_later(come: Come) -> None:
    (one, _), (other, _) = come(), come()
    assert one.claim(["a"]) == "a"
    one.settle("a", "no luck")
    assert one.failures() == other.failures() == {"a": "no luck"}
    assert other.claim(["a"]) is None
    later, _ = come()
    assert later.failures() == {}
    assert later.claim(["a"]) == "a"
    assert other.failures() == {}
    later.settle("a", None)
    assert other.claim(["a"]) is None


def test_what_is_given_back_is_free(come: Come) -> None:
    (one, _), (other, _) = come(), come()
    assert [one.claim([name]) for name in "ab"] == ["a", "b"]
    one.drop("a")
    assert other.claim(["a", "b"]) == "a"
    one.close()
    assert other.claim(["b"]) == "b"


def test_a_dead_worker_of_this_machine_is_known_by_its_lock(come: Come) -> None:
    (one, presence), (other, _) = come(), come()
    assert one.claim(["a"]) == "a"
    assert other.claim(["a"]) is None
    presence.leave()
    assert other.claim(["a"]) == "a"
    one.settle("a", None)  # too late: it is the other's
    assert other.failures() == {}


def test_a_worker_elsewhere_is_dead_when_it_is_still_for_too_long(come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "machine", lambda: "elsewhere")
    alive, _ = come(beat=0.02)
    still, _ = come()
    assert (alive.claim(["a"]), still.claim(["b"])) == ("a", "b")
    monkeypatch.setattr(signs, "machine", lambda: "here")
    other, _ = come(grace=0.3)
    taken = []
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        taken += [other.claim(["a", "b"])]
        time.sleep(0.05)
    assert [name for name in taken if name] == ["b"]
    assert taken[0] is None


def test_who_was_taken_for_dead_is_told(come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "machine", lambda: "elsewhere")
    asleep, _ = come(beat=0.5)
    assert asleep.claim(["a"]) == "a"
    monkeypatch.setattr(signs, "machine", lambda: "here")
    other, _ = come(grace=0.05)
    assert other.claim(["a"]) is None
    time.sleep(0.1)
    assert other.claim(["a"]) == "a"
    time.sleep(0.6)
    assert asleep.has_lost("a")
    asleep.settle("a", None)
    assert other.claim(["a"]) is None


def test_two_trials_of_one_run_are_one_claim(come: Come) -> None:
    (one, _), (other, _) = come(), come()
    for claims in (one, other):
        claims._enqueue("a")  # as where both see at once that there is none
    assert (one.claim(["a"]), other.claim(["a"])) == ("a", None)
    one.settle("a", None)
    assert other.claim(["a"]) is None


def test_what_was_finished_elsewhere_and_never_appears_is_said(come: Come) -> None:
    (one, _), (other, _) = come(), come(grace=0.0)
    assert one.claim(["a"]) == "a"
    one.settle("a", None)
    assert other.failures() == {}
    time.sleep(0.01)
    assert "in a folder that is not this one" in other.failures()["a"]


def test_a_study_has_one_name_whoever_asks(tmp_path: Path) -> None:
    assert title_of(tmp_path) == title_of(tmp_path)
    (tmp_path / "other").mkdir()
    assert title_of(tmp_path / "other") != title_of(tmp_path)


def test_who_must_be_alone_is(tmp_path: Path) -> None:
    first, second, third = (Presence(tmp_path, alone=alone) for alone in (True, True, False))
    first.enter()
    for other in (second, third):
        with pytest.raises(DocendoError, match=r"another process works on the study in .* the same --storage"):
            other.enter()
    first.leave()
    third.enter()
    third.leave()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("jurnal", '--storage is "jurnal", but must be journal, sqlite or an address'),
        ("nodb://me:secret@host/x", r"--storage nodb://me:\*\*\*@host/x cannot be opened"),
        ("sqlite:////no/such/folder/x.db", "the storage sqlite:////no/such/folder/x.db does not answer"),
    ],
)
def test_storages_that_cannot_be_opened(
    address: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docendo.studies.storage._TRIES", 2)
    with pytest.raises(DocendoError, match=message) as error:
        open_storage(address, tmp_path)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_each_storage_is_what_its_address_says(tmp_path: Path) -> None:
    storage: BaseStorage = open_storage("sqlite", tmp_path)
    assert (tmp_path / "study.db").exists()
    storage.remove_session()
    open_storage("journal", tmp_path)
    assert (tmp_path / "journal.log").exists()


def test_sqlite_lets_one_at_a_time_look_and_write(tmp_path: Path) -> None:
    """Else two could read that a trial waits before either writes that it runs."""
    storage: Any = open_storage("sqlite", tmp_path)
    with storage.engine.begin() as transaction, closing(sqlite3.connect(tmp_path / "study.db", timeout=0)) as other:
        transaction.exec_driver_sql("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.execute("BEGIN IMMEDIATE")
    storage.engine.dispose()
