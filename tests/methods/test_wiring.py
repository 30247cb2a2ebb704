"""Every method is wired as stated by hand, under every switch, and a fault in its wiring does not go unseen."""

import dataclasses
import typing
from typing import Any

import pytest

from docendo.core import Transfer
from docendo.methods import METHODS, make
from tests.methods.wiring import STATED, Fault, Stated, Statement, check, faults_of, read, source_of


def statement_of(method: str) -> Statement:
    path = STATED / f"{method}.txt"
    if not path.exists():
        pytest.fail(
            f"nobody has stated who learns from whom in {method}: write {path} by hand, from the paper, "
            "in the form that tests/methods/wiring.py explains; see stated/kd.txt"
        )
    return read(path)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_wired_as_stated(method: str) -> None:
    for case in statement_of(method).cases:
        check(case, make(method, case.settings))


@pytest.mark.parametrize("method", METHODS)
def test_every_switch_is_stated(method: str) -> None:
    """Both positions of every switch, every choice, and another value than the default of every number."""
    cases = [make(method, case.settings) for case in statement_of(method).cases]
    hints = typing.get_type_hints(METHODS[method])
    for setting in dataclasses.fields(METHODS[method]):
        values = {getattr(case, setting.name) for case in cases}
        hint = hints[setting.name]
        if typing.get_origin(hint) is typing.Literal or hint is bool:
            missing = set(typing.get_args(hint) or (False, True)) - values
            assert not missing, f"stated/{method}.txt says nothing about {setting.name}={missing.pop()}"
        elif hint is not Transfer and (setting.name != "add" or method in ("kd", "sokd")):  # others add as kd does
            assert len(values) > 1, f"stated/{method}.txt says nothing about another {setting.name} than {values}"


@pytest.mark.parametrize("method", METHODS)
def test_planted_faults_are_caught(method: str, record_property: Any) -> None:
    statement = statement_of(method)
    for case in statement.cases:
        check(case, make(method, case.settings))  # else every fault would seem to be caught
    faults = faults_of(method)
    for module in {fault.module for fault in faults}:
        nothing = Fault(module, "", "nothing wrong", source_of(module))
        assert not caught(nothing, statement.cases[:1], method), f"{module} does not do, read again, what it does"
    missed, never_run = [], set()
    for fault in faults:
        place = (fault.module, fault.function)
        if place in never_run:
            continue
        seen = caught(fault, statement.cases, method)
        assert not (seen and fault.text in statement.equivalent), f"{fault.text} is stated as equivalent, but is not"
        if not fault.was_run and not seen:
            never_run.add(place)
        elif not (seen or fault.is_void or fault.text in statement.equivalent):
            missed.append(f"{fault.module}, {fault.text}")
    assert not missed, f"{len(missed)} of {len(faults)} faults go unseen:\n" + "\n".join(missed)
    assert set(statement.equivalent) <= {fault.text for fault in faults}, (
        "stated equivalents that are none of the faults"
    )
    record_property("faults", len(faults))


def caught(fault: Fault, cases: list[Stated], method: str) -> bool:
    with fault.planted():
        for case in cases:
            try:
                check(case, make(method, case.settings))
            except Exception:
                return True
    return False
