"""Rows by key on disk: kept, shared, and never believed when they are damaged."""

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from docendo.engine.answer_file import AnswerFile

KEYS, SIZE = 100, 20


def opened(folder: Path, budget: int = 10**6) -> AnswerFile:
    return AnswerFile(folder, KEYS, SIZE, budget)


def rows_of(keys: torch.Tensor) -> torch.Tensor:
    return (keys[:, None] * 7 + torch.arange(SIZE)).to(torch.uint8)


@pytest.mark.parametrize("size", [1, 8, 15, 400])
def test_rows_of_any_size_come_back(tmp_path: Path, size: int) -> None:
    rows = torch.randint(256, (3, size), dtype=torch.uint8)
    AnswerFile(tmp_path, KEYS, size, 10**6).add(torch.tensor([7, 0, 99]), rows)
    found, known = AnswerFile(tmp_path, KEYS, size, 10**6).read(torch.tensor([99, 1, 7]))
    assert known.tolist() == [True, False, True]
    assert torch.equal(found[known], rows[[2, 0]])


def test_others_rows_are_seen_and_not_kept_twice(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.add(torch.arange(10), rows_of(torch.arange(10)))
    assert len(other) == 0
    other.add(torch.arange(5, 15), rows_of(torch.arange(5, 15)))
    assert len(other) == 15
    one.refresh()
    assert one.read(torch.arange(15))[1].all()
    assert torch.equal(one.read(torch.arange(15))[0], rows_of(torch.arange(15)))


@pytest.mark.parametrize("byte", [0, 3, 19, 24, 31])
def test_a_changed_byte_is_noticed_and_the_row_kept_anew(tmp_path: Path, byte: int) -> None:
    keys = torch.arange(4)
    opened(tmp_path).add(keys, rows_of(keys))
    row = AnswerFile.row_bytes(SIZE) - 8
    with (tmp_path / "rows").open("r+b") as file:
        file.seek(2 * row + byte)
        value = file.read(1)[0]
        file.seek(2 * row + byte)
        file.write(bytes([value ^ 0x40]))
    file = opened(tmp_path)
    assert file.read(keys)[1].tolist() == [True, True, False, True]
    file.add(torch.tensor([2]), rows_of(torch.tensor([2])))
    rows, known = opened(tmp_path).read(keys)
    assert known.all()
    assert torch.equal(rows, rows_of(keys))


def test_a_row_under_another_key_is_no_answer(tmp_path: Path) -> None:
    opened(tmp_path).add(torch.arange(2), rows_of(torch.arange(2)))
    (tmp_path / "keys").write_bytes(torch.tensor([1, 0]).numpy().tobytes())
    assert not opened(tmp_path).read(torch.arange(2))[1].any()


@pytest.mark.parametrize(("keys_cut", "rows_cut"), [(3, 0), (0, 5), (8, 0), (0, 40), (24, 1), (-3, -7), (0, -100)])
def test_torn_ends_are_cut_off(tmp_path: Path, keys_cut: int, rows_cut: int) -> None:
    """A positive number of bytes is missing, a negative one is too many."""
    opened(tmp_path).add(torch.arange(6), rows_of(torch.arange(6)))
    for name, cut in (("keys", keys_cut), ("rows", rows_cut)):
        path = tmp_path / name
        os.truncate(path, path.stat().st_size - cut)
    file = opened(tmp_path)
    before = file.read(torch.arange(6))[1]
    assert before.sum() >= 2
    file.add(torch.arange(6, 9), rows_of(torch.arange(6, 9)))
    rows, known = opened(tmp_path).read(torch.arange(9))
    assert torch.equal(known, torch.cat([before, torch.ones(3, dtype=torch.bool)]))
    assert torch.equal(rows[known], rows_of(torch.arange(9)[known]))


def test_the_budget_is_never_exceeded(tmp_path: Path) -> None:
    row = AnswerFile.row_bytes(SIZE)
    file = opened(tmp_path, budget=7 * row + row // 2)
    file.add(torch.arange(5), rows_of(torch.arange(5)))
    assert file.full == ""
    file.add(torch.arange(5, 20), rows_of(torch.arange(5, 20)))
    assert file.full == "its budget is used up"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 7 * row
    assert file.read(torch.arange(20))[1].sum() == 7


def test_a_budget_below_what_is_there_keeps_what_is_there(tmp_path: Path) -> None:
    opened(tmp_path).add(torch.arange(5), rows_of(torch.arange(5)))
    file = opened(tmp_path, budget=-1)
    file.add(torch.tensor([50]), rows_of(torch.tensor([50])))
    assert len(opened(tmp_path)) == 5


def test_a_full_disk_costs_no_row_that_was_there(tmp_path: Path) -> None:
    """The disk is full where this process may write no larger files."""
    import resource
    import signal

    opened(tmp_path).add(torch.arange(5), rows_of(torch.arange(5)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "rows").stat().st_size + 50, limits[1]))
        file = opened(tmp_path)
        file.add(torch.arange(5, 50), rows_of(torch.arange(5, 50)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.full == "File too large"
    rows, known = opened(tmp_path).read(torch.arange(50))
    assert known.tolist() == [True] * 5 + [False] * 45
    assert torch.equal(rows[:5], rows_of(torch.arange(5)))


def _write(folder: Path, first: int) -> None:
    file = opened(folder)
    for key in range(first, KEYS, 2):
        file.add(torch.tensor([key]), rows_of(torch.tensor([key])))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, first)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows, known = opened(tmp_path).read(torch.arange(KEYS))
    assert known.all()
    assert torch.equal(rows, rows_of(torch.arange(KEYS)))
