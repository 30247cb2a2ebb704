"""The bank of CRD: what it draws, how its rows change, and that its buffers are all that it knows."""

import copy
import math

import pytest
import scipy.special
import torch
from torch import Tensor

from docendo.branches import Bank, Embeddings
from docendo.branches.bank import _mixed, log_mean_score
from docendo.errors import DocendoError
from docendo.losses import crd_log_normalization
from docendo.networks import create
from tests.tiny import NETWORKS

IMAGES, CLASSES = 40, 5
LABELS = torch.arange(IMAGES) % CLASSES


def bank(negatives: int = 8, dimensions: int = 6, images: int = IMAGES) -> Bank:
    torch.manual_seed(0)
    made = Bank(dimensions, negatives, momentum=0.25, temperature=0.5)
    made.fit_to(images)
    return made


def batch(index: Tensor, seed: int = 1, dimensions: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, len(index), dimensions, generator=generator)
    return student, teacher, LABELS[index], index


def seen_all(of: Bank) -> Bank:
    of(*batch(torch.arange(IMAGES)))
    return of


def test_embeddings_are_linear_and_of_one_length() -> None:
    student, teacher = (create(NETWORKS["native"][role], classes=3, channels=1) for role in ("student", "teacher"))
    embeddings = Embeddings(student, teacher, 7)
    s, t = embeddings(torch.ones(2, 16), torch.ones(2, 24))
    assert s.shape == t.shape == (2, 7)
    torch.testing.assert_close(s[0], embeddings.student.weight.sum(1) + embeddings.student.bias)
    torch.testing.assert_close(t[0], embeddings.teacher.weight.sum(1) + embeddings.teacher.bias)


def test_rows_are_those_of_before_the_batch_and_then_move() -> None:
    of = bank()
    before = copy.deepcopy(of)
    index = torch.tensor([3, 17, 30])
    student, teacher, labels, _ = batch(index)
    rows = of(student, teacher, labels, index)
    for given, embeddings, was, now in zip(
        rows, (student, teacher), (before.student, before.teacher), (of.student, of.teacher), strict=True
    ):
        assert torch.equal(given.positive, was[index])
        assert given.every[given.drawn].shape == (3, 8, 6)
        for image in range(IMAGES):
            expected = was[image]
            if image in index:
                new = embeddings[index.tolist().index(image)]
                expected = 0.25 * expected + 0.75 * new / new.norm()
                expected = expected / expected.norm()
            torch.testing.assert_close(now[image], expected)
    assert torch.equal(of.labels[index], labels)
    assert (of.labels >= 0).sum() == 3


def test_nothing_moves_in_evaluation() -> None:
    of = seen_all(bank()).eval()
    before = copy.deepcopy(of.state_dict())
    of(*batch(torch.tensor([1, 2]), seed=2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in of.state_dict().items())


def test_negatives_are_all_images_of_other_classes_with_equal_chance() -> None:
    of = seen_all(bank(negatives=16384))
    counts = torch.zeros(2, IMAGES)
    for step in range(200):
        of.steps.fill_(step)
        for b, drawn in enumerate(of._draw(torch.tensor([2, 4]), 160)):
            counts[b] += torch.bincount(drawn, minlength=IMAGES)
    expected = 200 * 160 / 32
    for b, label in enumerate((2, 4)):
        assert (counts[b][label == LABELS] == 0).all()
        others = counts[b][label != LABELS]
        chi_squared = ((others - expected) ** 2 / expected).sum()
        assert 10 < chi_squared < 60  # 31 degrees of freedom: within 4 standard deviations


def test_an_image_is_never_its_own_negative_even_when_first_seen() -> None:
    of = bank(negatives=39)
    for start in range(0, IMAGES, 4):
        index = torch.arange(start, start + 4)
        labels = LABELS[index]
        before = of.student.clone()
        rows, _ = of(*batch(index))
        own = (rows.every[rows.drawn][:, :, None] == before[index][:, None, None]).all(-1).any()
        assert not own
        assert torch.equal(of.labels[index], labels)


def test_what_is_drawn_follows_from_the_buffers() -> None:
    first = bank()
    for step in range(3):
        first(*batch(torch.arange(step, step + 4), seed=step))
    second = Bank(6, 8, momentum=0.25, temperature=0.5)
    second.fit_to(IMAGES)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(7)  # the state of PyTorch's generator plays no part
    for step in range(3, 6):
        these = batch(torch.arange(step, step + 4), seed=step)
        for a, b in zip(first(*these), second(*these), strict=True):
            assert torch.equal(a.every[a.drawn], b.every[b.drawn])
    again = first._draw(torch.tensor([0]), 8)
    first.steps += 1
    assert not torch.equal(first._draw(torch.tensor([0]), 8), again)


def test_fitting_again_begins_anew() -> None:
    of = bank()
    first = copy.deepcopy(of.state_dict())
    seen_all(of)
    of.fit_to(IMAGES)
    assert all(torch.equal(tensor, first[name]) for name, tensor in of.state_dict().items())
    torch.testing.assert_close(of.student.norm(dim=1), torch.ones(IMAGES))
    assert not torch.equal(of.student, of.teacher)


def test_few_images_give_few_negatives_and_one_class_gives_any() -> None:
    of = bank(negatives=100, images=3)
    index = torch.arange(3)
    embeddings = torch.randn(2, 3, 6)
    rows, _ = of(*embeddings, torch.zeros(3, dtype=torch.int64), index)
    assert rows.every[rows.drawn].shape == (3, 3, 6)


def test_the_constant_is_what_the_first_batch_would_measure() -> None:
    torch.manual_seed(0)
    of = Bank(128, 4096, momentum=0.5, temperature=0.07)
    of.fit_to(50_000)
    index = torch.arange(16)
    embeddings = torch.randn(16, 128)
    _, rows = of(embeddings, embeddings, index % CLASSES, index)
    measured = crd_log_normalization(embeddings, rows.positive, rows.every[rows.drawn], 50_000)
    assert rows.log_normalization == pytest.approx(math.log(50_000) + 1 / (256 * 0.07**2), abs=0.01)
    assert measured.item() == pytest.approx(rows.log_normalization, abs=0.05)


@pytest.mark.parametrize(("dimensions", "temperature"), [(128, 0.07), (16, 0.07), (8, 0.07), (2, 0.5), (128, 0.02)])
def test_the_mean_score_is_the_norm_of_a_von_mises_fisher_distribution(dimensions: int, temperature: float) -> None:
    half, kappa = dimensions / 2, 1 / temperature
    bessel = math.log(scipy.special.ive(half - 1, kappa)) + kappa
    expected = math.lgamma(half) + (half - 1) * math.log(2 / kappa) + bessel
    assert log_mean_score(dimensions, temperature) == pytest.approx(expected, rel=1e-12)


def test_it_must_know_how_many_images_there_are() -> None:
    with pytest.raises(DocendoError, match=r"^the bank of crd has no rows: call fit_to\(number of training images\)"):
        Bank(6, 8, momentum=0.5, temperature=0.5)(*batch(torch.arange(2)))


def test_mixing_is_that_of_splitmix64() -> None:
    def in_whole_numbers(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return (x ^ (x >> 31)) % 2**63

    numbers = [0, 1, 2, 12345, 2**40 + 7, 2**62, 2**63 - 1]
    assert _mixed(torch.tensor(numbers)).tolist() == [in_whole_numbers(x) for x in numbers]


def test_half_precision_rows_stay_finite() -> None:
    of = bank().to(torch.bfloat16)
    student, teacher, labels, index = batch(torch.arange(4))
    of(student.bfloat16() * 1e4, torch.zeros_like(teacher).bfloat16(), labels, index)
    assert of.student.dtype == torch.bfloat16
    assert torch.isfinite(of.student).all()
    assert torch.isfinite(of.teacher).all()
