"""Networks by name, other spellings, and what is said about names and numbers that make no sense."""

from collections.abc import Iterator, Sequence

import pytest
from torch import nn

from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, StagedNetwork, catalog, create, names, register
from docendo.networks.staged import PoolHead


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("resnet20", "resnet20"),
        ("resnet-20", "resnet20"),
        ("resnet_8x4", "resnet8x4"),
        ("wide_resnet_40_2", "wrn_40_2"),
        ("WRN-40-2", "wrn_40_2"),
        ("wrn-16-1", "wrn_16_1"),
        ("WideResNet-28-10", "wrn_28_10"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    assert catalog.canonical(spelling) == name


def test_names_are_explicit_and_each_makes_a_network() -> None:
    assert {"resnet8", "resnet110", "resnet32x4", "wrn_16_1", "wrn_40_2", "resnet34"} <= set(names())
    assert create("WRN-16-1", classes=5).spec == NetworkSpec("wrn_16_1", 5, 3, 32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnett20", 'unknown network "resnett20": did you mean "resnet20"?'),
        (
            "ResNet20",
            'unknown network "ResNet20": "resnet20" differs only in upper and lower case, which matters in these '
            'names; if you mean that network, write "resnet20"',
        ),
        (
            "wrn_41_2",
            'unknown network "wrn_41_2": a wide ResNet wrn_d_k has depth d = 6n + 4 (10, 16, 22, 28, 34, 40, ...) '
            "and factor k of at least 1",
        ),
        (
            "wrn_16_0",
            'unknown network "wrn_16_0": a wide ResNet wrn_d_k has depth d = 6n + 4 (10, 16, 22, 28, 34, 40, ...) '
            "and factor k of at least 1",
        ),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(DocendoError) as error:
        create(name, classes=10)
    assert str(error.value) == message


def test_a_name_like_no_other_lists_them_all() -> None:
    with pytest.raises(DocendoError, match=r'unknown network "zebra": known: resnet8, resnet14, .*wrn_40_2'):
        create("zebra", classes=10)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"classes": 0}, "resnet8: classes must be a whole number of at least 1, got 0"),
        ({"classes": 2.5}, "resnet8: classes must be a whole number of at least 1, got 2.5"),
        ({"classes": True}, "resnet8: classes must be a whole number of at least 1, got True"),
        ({"classes": 2, "channels": 0}, "resnet8: channels must be a whole number of at least 1, got 0"),
        ({"classes": 2, "image_size": -8}, "resnet8: image_size must be a whole number of at least 1, got -8"),
    ],
)
def test_numbers_that_make_no_sense(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(DocendoError) as error:
        create("resnet8", **numbers)
    assert str(error.value) == message


class Tiny(StagedNetwork):
    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.one = nn.Conv2d(spec.channels, 4, 3)
        self.two = nn.Conv2d(4, 8, 3, stride=2)
        self.out = nn.Linear(8, spec.classes)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        return (self.one, self.two), PoolHead(self.out)


@pytest.fixture
def tiny() -> Iterator[str]:
    register("tiny", Tiny)
    yield "tiny"
    catalog._TABLE.pop("tiny")
    catalog._REGISTERED.discard("tiny")


@pytest.mark.usefixtures("only_our_networks")
def test_users_add_their_own(tiny: str) -> None:
    network = create(tiny, classes=3, channels=1, image_size=9)
    assert names()[-1] == "tiny"
    assert network.spec == NetworkSpec("tiny", 3, 1, 9)
    assert network.shapes == ((4, 7, 7), (8, 3, 3))
    assert isinstance(network.fresh(), Tiny)
    register("tiny", lambda spec: Tiny(NetworkSpec("", 11)))
    assert create(tiny, classes=3).out.out_features == 11


@pytest.mark.parametrize(("name", "taken"), [("resnet8", "resnet8"), ("WRN-22-3", "wrn_22_3")])
def test_built_in_names_cannot_be_taken(name: str, taken: str) -> None:
    with pytest.raises(DocendoError) as error:
        register(name, Tiny)
    assert str(error.value) == f'the network name "{name}" is taken by docendo\'s own "{taken}": choose another'
