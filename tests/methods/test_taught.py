"""Losses that are added to each other: how they are named, held, refused, and that none of them is left behind."""

from collections.abc import Callable

import pytest

from docendo.errors import DocendoError
from docendo.methods import AT, BAN, KD, SFTN, SOKD, FitNet, make, settings_of, values_of
from docendo.recipes.run import Run
from docendo.recipes.settings import Request
from tests.conftest import weights
from tests.tiny import cast

ADDED = {"add": "at,fitnet", "at.weight": "500", "fitnet.weight": "7"}
BOTH = (AT(weight=500), FitNet(weight=7))


def test_settings_of_what_is_added_follow_its_name() -> None:
    assert make("kd", ADDED) == KD(add=BOTH)
    assert make("sokd", ADDED) == SOKD(add=BOTH)
    assert make("sftn", {f"then.{key}": value for key, value in ADDED.items()}) == SFTN(then=KD(add=BOTH))
    assert make("ban", {"heir": "kd", "heir.add": "at", "heir.kd": "0.5"}) == BAN(heir=KD(kd=0.5, add=(AT(),)))


@pytest.mark.parametrize(
    "method", [KD(add=BOTH), SOKD(add=(AT(pairs="3:3"),)), SFTN(then=KD(add=BOTH)), BAN(heir=AT())]
)
def test_values_make_the_same_method_again(method: object) -> None:
    name = type(method).__name__.lower()
    assert make(name, values_of(method)) == method


def test_what_is_added_is_listed_last() -> None:
    assert [setting.key for setting in settings_of(KD)] == ["temperature", "kd", "standardize", "ce", "add"]


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        ("kd", {"add": "att"}, 'kd: add is "att", but must be a transfer method; did you mean "at"?'),
        ("kd", {"add": "sokd"}, 'kd: add is "sokd", but must be a transfer method; '),
        ("kd", {"add": "kd"}, "add: KD is there already: a loss is added once; change its weight instead"),
        ("kd", {"add": "at", "at.wight": "1"}, 'at has no setting "at.wight"; did you mean "at.weight"?'),
        ("kd", {"at.weight": "1"}, 'kd has no setting "at.weight"; to add that loss: --add at, or --set add=at'),
        ("ban", {"heir.kd": "1"}, "ban: heir holds no method, so it has no kd: name one first, --set heir=kd"),
    ],
)
def test_what_cannot_be_added_is_refused(method: str, values: dict[str, str], message: str) -> None:
    with pytest.raises(DocendoError) as refused:
        make(method, values)
    assert str(refused.value).startswith(message)


def test_a_method_that_holds_one_passes_on_what_is_added() -> None:
    assert Request("sftn", {}, {**ADDED, "then.kd": "1"}).method == SFTN(then=KD(kd=1, add=BOTH))
    with pytest.raises(
        DocendoError,
        match="no losses can be added to dml, so add does not go with it; methods that take some: kd, sftn",
    ):
        Request("dml", {}, {"add": "at"})


def test_the_file_to_deploy_is_the_student_alone(small_run: Callable[..., Run]) -> None:
    networks = cast("native", KD.roles)
    run = small_run(KD(add=BOTH), "added", epochs=1, **networks)
    plain = small_run("plain", epochs=1, student=networks["student"])
    assert weights(run.folder, "student").keys() == weights(plain.folder, "student").keys()
