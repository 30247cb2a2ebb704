"""What a search may choose from."""

from pathlib import Path
from typing import Any

import pytest

from docendo.errors import DocendoError
from docendo.methods import KD, METHODS, SFTN, make
from docendo.studies.space import Range, asked_space, own_space, read_space, usual_range


@pytest.mark.parametrize("name", METHODS)
def test_ranges_of_every_method_are_allowed_and_hold_the_default(name: str) -> None:
    method = METHODS[name]()
    for key, among in own_space(method, ()).items():
        for end in among.ends:
            make(name, {key: end})
        assert among.low is not None
        assert among.high is not None
        default = getattr(method, key) if hasattr(method, key) else None
        assert default is None or among.low <= default <= among.high


def test_what_is_not_searched_by_itself() -> None:
    keys = {*own_space(SFTN(), ["branch_kl"])}
    assert {"teacher_ce", "branch_ce", "then.temperature", "then.kd", "finetune_fraction"} <= keys
    assert not keys & {"branch_kl", "detach_teacher", "share_tails", "pairs", "kl_direction", "then"}
    assert {*own_space(KD(ce=0.0), ())} == {"temperature", "kd"}
    assert {*own_space(make("kd", {"add": "at"}), ())} >= {"at.weight"}


def test_limits_hold() -> None:
    assert usual_range(0.5, {"above": 0, "at_most": 1}) == Range(low=0.01, high=1)
    assert usual_range(0.5, {"at_least": 0}) == Range(low=0.05, high=5, log=True)
    assert usual_range(0.5, {"at_most": 1}) == Range(low=0.05, high=1, log=True)
    assert usual_range(-2.0, {}) == Range(low=-20, high=-0.2)


def test_words() -> None:
    assert asked_space(["lr=0.01:0.2:log", "kl_direction=forward,reverse", "K=2:9", "share_tails=true,false"]) == {
        "lr": Range(low=0.01, high=0.2, log=True),
        "kl_direction": Range(choices=("forward", "reverse")),
        "K": Range(low=2, high=9),
        "share_tails": Range(choices=(True, False)),
    }
    for wrong in ("lr", "lr=1", "lr=2:1", "lr=a:b", "lr=0:1:log", "lr=1:2:lin", "=1:2"):
        with pytest.raises(DocendoError, match=r"--search is .* but must be KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B"):
            asked_space([wrong])
    with pytest.raises(DocendoError, match="each KEY once"):
        asked_space(["lr=1:2", "lr=1:2"])


FILES: dict[str, tuple[str, Any]] = {
    "ranges": (
        "temperature: {low: 1, high: 8, log: true}\nadd: [at, sp]",
        {"temperature": Range(low=1, high=8, log=True), "add": Range(choices=("at", "sp"))},
    ),
    "misspelt": ("lr: {lo: 1, high: 2}", r'lr has no "lo"; did you mean "low"\?'),
    "half": ("lr: {low: 1}", "lr is .* but must have low and high"),
    "both": ("lr: {low: 1, high: 2, choices: [1]}", "low and high, or choices"),
    "nothing": ("[]", "holds no ranges"),
    "no yaml": ("a: [", "is not a YAML file"),
}


@pytest.mark.parametrize("what", FILES)
def test_files(what: str, tmp_path: Path) -> None:
    text, expected = FILES[what]
    (tmp_path / "space.yaml").write_text(text)
    if isinstance(expected, dict):
        assert read_space(tmp_path / "space.yaml") == expected
        return
    with pytest.raises(DocendoError, match=expected) as error:
        read_space(tmp_path / "space.yaml")
    assert "\n" not in str(error.value)
