"""Labels of mixed images: cross-entropy takes them, what needs one class for each image refuses them."""

import inspect

import pytest
import torch
import torch.nn.functional as F

import docendo.losses
from docendo.errors import DocendoError
from docendo.losses import crd, cross_entropy, dkd, sskd_selected, top_score_difference


def mixed(count=6, classes=4, own=0.3):
    first, second = torch.arange(count) % classes, (torch.arange(count) + 1) % classes
    shares = own * F.one_hot(first, classes) + (1 - own) * F.one_hot(second, classes)
    return first, second, shares


def logits(dtype=torch.float64):
    return torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_cross_entropy_of_a_mix_is_the_mix_of_cross_entropies():
    first, second, shares = mixed()
    z = logits().requires_grad_()
    value = cross_entropy(z, shares)
    expected = 0.3 * cross_entropy(z, first) + 0.7 * cross_entropy(z, second)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    (got,), (wanted,) = (torch.autograd.grad(loss, z, retain_graph=True) for loss in (value, expected))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-7)
    torch.testing.assert_close(got, (z.detach().softmax(1) - shares) / 6, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_share_of_one_is_the_class_in_every_number_format(dtype):
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    z = logits(dtype)
    whole = cross_entropy(z, F.one_hot(labels, 4).float())
    assert whole.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(whole, cross_entropy(z, labels))


REFUSING = {
    "dkd": lambda z, y: dkd(z, -z, y),
    "crd": lambda z, y: crd(z, -z, y),
    "top_score_difference": lambda z, y: top_score_difference(z, 3, labels=y),
    "sskd_selected": lambda z, y: sskd_selected(z, y, 0.5),
}


@pytest.mark.parametrize("name", REFUSING)
def test_what_needs_one_class_says_so_in_one_line(name):
    first, _, shares = mixed()
    REFUSING[name](logits(), first)
    with pytest.raises(
        DocendoError,
        match=rf"^{name} needs one class for each image, but labels are \(6, 4\) shares of classes, as of mixed "
        r"images: leave data.mixup and data.cutmix out, or learn by another loss$",
    ):
        REFUSING[name](logits(), shares)


def test_every_loss_of_labels_is_known_here():
    takes = {
        name
        for name in docendo.losses.__all__
        if {"labels", "targets"} & set(inspect.signature(getattr(docendo.losses, name)).parameters)
    }
    assert takes == {*REFUSING, "cross_entropy"}
