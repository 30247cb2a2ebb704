"""Convolutions with a quarter of the multiplications give what the definition gives, and stand aside elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import docendo
from docendo.engine import native, winograd
from docendo.engine.native import CannotBuild, built
from docendo.engine.winograd import Convolution, Winograd
from docendo.errors import DocendoError
from docendo.networks import create
from tests.conftest import Said, losses, same, weights

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="there is no C++ compiler here"),
]

Train = Callable[..., docendo.Run]

BUILDS: dict[str, tuple[str, ...]] = {
    "native": ("-march=native",),
    **({"avx2": ("-march=x86-64-v3",), "sse": ("-march=x86-64",)} if os.uname().machine == "x86_64" else {}),
}
# Images, inputs, outputs, height, width: one tile and many, cut off tiles, wide and narrow, few and many images.
SIZES = [(1, 16, 16, 4, 4), (2, 32, 32, 32, 32), (3, 16, 48, 7, 9), (5, 64, 32, 14, 6), (2, 128, 128, 8, 8)]


@pytest.fixture(params=BUILDS)
def _every_build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as this processor does, and as lesser ones do."""
    monkeypatch.setattr(winograd, "built", lambda name: built(name, BUILDS[request.param]))


@pytest.fixture
def _however_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it serve where there is too little to do for it to gain."""
    monkeypatch.setattr(winograd, "FEWEST_NUMBERS", 1)
    monkeypatch.setattr(winograd, "FEWEST_TO_LEARN", (1, 1))
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS_TO_LEARN", 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Note the shapes of the images that are convolved so."""
    shapes: list[tuple[int, ...]] = []
    real = winograd.convolve

    def noting(x: Tensor, *rest: Any) -> Tensor:
        shapes.append(tuple(x.shape))
        return real(x, *rest)

    monkeypatch.setattr(winograd, "convolve", noting)
    return shapes


def images(n: int, channels: int, height: int, width: int) -> Tensor:
    torch.manual_seed(n + channels)
    return torch.randn(n, channels, height, width).contiguous(memory_format=torch.channels_last)


def error(x: Tensor, exact: Tensor) -> float:
    """Give the largest error beside the largest number, in units of float32's rounding."""
    largest = (x.detach().double() - exact.detach()).abs().max() / exact.detach().abs().max()
    return float(largest) / torch.finfo(torch.float32).eps


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.usefixtures("_every_build", "_however_little")
def test_values_and_gradients_are_those_of_the_definition(
    size: tuple[int, ...], biased: bool, asked: list[tuple[int, ...]]
) -> None:
    n, inputs, outputs, height, width = size
    x = images(n, inputs, height, width).requires_grad_()
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=biased)
    exact_layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=biased).double()
    exact_layer.load_state_dict(layer.state_dict())
    exact_x = x.detach().double().requires_grad_()
    with Winograd():
        y = layer(x)
    exact = exact_layer(exact_x)
    to_y = torch.randn_like(y)
    y.backward(to_y)
    exact.backward(to_y.double())
    assert asked == [(n, inputs, height, width), (n, outputs, height, width)]
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert error(y, exact) < 200
    assert error(x.grad, exact_x.grad) < 200  # type: ignore[arg-type]
    for parameter, exact_parameter in zip(layer.parameters(), exact_layer.parameters(), strict=True):
        assert error(parameter.grad, exact_parameter.grad) < 200  # type: ignore[arg-type]


def test_whole_numbers_are_convolved_without_any_error() -> None:
    # Multiples of 24, which undo the fractions of the weights' transform: every intermediate number is a whole one.
    torch.manual_seed(0)
    x = torch.randint(-8, 9, (2, 16, 12, 12)).float().contiguous(memory_format=torch.channels_last)
    weight = 576.0 * torch.randint(-2, 3, (16, 16, 3, 3))
    with torch.no_grad(), Winograd():
        y = F.conv2d(x, weight, padding=1)
    assert torch.equal(y, F.conv2d(x, weight, padding=1))


def test_an_answer_depends_neither_on_its_neighbours_nor_on_threads(asked: list[tuple[int, ...]]) -> None:
    x = images(13, 32, 10, 10)
    layer = nn.Conv2d(32, 32, 3, padding=1)
    threads = torch.get_num_threads()
    try:
        with torch.no_grad(), Winograd():
            y = layer(x)
            assert len(asked) == 1
            for some in (slice(0, 1), slice(5, 9)):
                assert torch.equal(layer(x[some]), y[some])
            torch.set_num_threads(3)
            assert torch.equal(layer(x), y)
            assert len(asked) == 4
    finally:
        torch.set_num_threads(threads)


@pytest.mark.usefixtures("_however_little")
def test_gradients_can_be_differentiated(asked: list[tuple[int, ...]]) -> None:
    def penalty(x: Tensor, layer: nn.Conv2d) -> tuple[Tensor, ...]:
        (to_x,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(to_x.square().sum(), (x, *layer.parameters()))

    x = images(2, 16, 8, 8).requires_grad_()
    layer = nn.Conv2d(16, 16, 3, padding=1)
    with Winograd():
        found = penalty(x, layer)
    assert asked
    exact = penalty(x.detach().double().requires_grad_(), layer.double())
    assert max(error(ours, theirs) for ours, theirs in zip(found, exact, strict=True)) < 200


X, WEIGHT = images(32, 16, 8, 8), torch.randn(16, 16, 3, 3)


class Own(Tensor):
    """Somebody's own kind of tensor."""


OTHER: dict[str, Convolution] = {
    "taps": Convolution(X, torch.randn(16, 16, 1, 1), padding=0),
    "stride": Convolution(X, WEIGHT, stride=2, padding=1),
    "padding": Convolution(X, WEIGHT, padding=0),
    "dilation": Convolution(X, WEIGHT, padding=1, dilation=2),
    "groups": Convolution(X, torch.randn(16, 8, 3, 3), padding=1, groups=2),
    "channels": Convolution(X[:, :3].contiguous(memory_format=torch.channels_last), WEIGHT[:, :3], padding=1),
    "layout": Convolution(X.contiguous(), WEIGHT, padding=1),
    "format": Convolution(X.double(), WEIGHT.double(), padding=1),
    "device": Convolution(X.to("meta"), WEIGHT.to("meta"), padding=1),
    "tiles": Convolution(images(1024, 16, 2, 2), WEIGHT, padding=1),
    "few numbers": Convolution(images(64, 16, 4, 4), WEIGHT, padding=1),
    "few pixels to learn from": Convolution(
        images(63, 32, 8, 8), torch.randn(32, 32, 3, 3).requires_grad_(), padding=1
    ),
    "few channels to learn from": Convolution(images(256, 16, 8, 8), WEIGHT.clone().requires_grad_(), padding=1),
    "subclass": Convolution(X.as_subclass(Own), WEIGHT, padding=1),
    "dimensions": Convolution(X[0], WEIGHT, padding=1),
    "cache": Convolution(images(8, 512, 8, 8), torch.randn(512, 512, 3, 3), padding=1),
}


@pytest.mark.parametrize("what", OTHER)
def test_all_else_is_left_to_pytorch(what: str, asked: list[tuple[int, ...]]) -> None:
    with Winograd():
        y = F.conv2d(*OTHER[what])
    assert not asked
    assert y.is_meta or torch.equal(y, F.conv2d(*OTHER[what]))


@pytest.mark.parametrize("padding", [1, (1, 1), [1, 1], "same"])
def test_padding_is_said_in_many_ways(padding: Any, asked: list[tuple[int, ...]]) -> None:
    with Winograd():
        F.conv2d(input=X, weight=WEIGHT, padding=padding)
        with torch.autocast("cpu", torch.bfloat16):
            F.conv2d(X, WEIGHT, padding=padding)
    F.conv2d(X, WEIGHT, padding=padding)
    assert asked == [(32, 16, 8, 8)]


@pytest.mark.parametrize("remember", [True, False])
def test_frozen_weights_are_transformed_once_unless_they_change(
    remember: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformed: list[Tensor] = []
    real = winograd.weight_transform
    monkeypatch.setattr(winograd, "weight_transform", lambda weight: transformed.append(weight) or real(weight))
    layer = nn.Conv2d(16, 16, 3, padding=1).requires_grad_(False)
    standing_in = Winograd(remember=remember)

    def look() -> Tensor:
        with standing_in:
            y: Tensor = layer(X)
        return y

    first = look()
    assert torch.equal(look(), first)
    assert len(transformed) == (1 if remember else 2)
    layer.weight.mul_(2)
    assert not torch.equal(look(), first)
    assert len(transformed) == (2 if remember else 3)
    layer.requires_grad_(True)
    with torch.no_grad():
        look(), look()
    assert len(transformed) == (4 if remember else 5)


@pytest.mark.parametrize("learns", [True, False])
def test_what_comes_out_may_be_changed_in_place(learns: bool, asked: list[tuple[int, ...]]) -> None:
    x = images(64, 32, 8, 8)
    layer = nn.Conv2d(32, 32, 3, padding=1).requires_grad_(learns)
    with Winograd():
        y = layer(x)
    shift = torch.zeros(32, 1, 1, requires_grad=True)
    nn.functional.relu_(y.add_(shift)).sum().backward()
    assert asked
    assert shift.grad is not None


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        (images(4, 64, 16, 16), torch.randn(32, 32, 3, 3), None),
        (images(4, 40, 16, 16), torch.randn(32, 32, 3, 3), None),
        (images(4, 32, 16, 16), torch.randn(32, 32, 3, 3), torch.randn(3)),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_pytorch(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    with Winograd(), pytest.raises(RuntimeError, match=r"^Given (groups=1, )?weight of size"):
        F.conv2d(x, weight, bias, padding=1)


def test_code_that_somebody_compiles_is_left_alone(asked: list[tuple[int, ...]]) -> None:
    torch.compiler.reset()  # what other tests have compiled counts for its limits
    layer = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    x = images(64, 32, 8, 8)
    with Winograd():
        found = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
    assert not asked
    assert torch.equal(found, layer(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # PyTorch's own use of it
def test_functions_that_are_transformed_are_left_alone(asked: list[tuple[int, ...]]) -> None:
    layer = nn.Conv2d(32, 32, 3, padding=1)
    x = images(64, 32, 8, 8)
    weights = dict(layer.named_parameters())

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        total: Tensor = torch.func.functional_call(layer, weights, (x,)).square().sum()
        return total

    with Winograd():
        gradients = torch.func.grad(loss)(weights, x)
        _, tangent = torch.func.jvp(layer, (x,), (torch.ones_like(x),))
        with torch.autograd.forward_ad.dual_level():
            dual = layer(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
            assert torch.allclose(torch.autograd.forward_ad.unpack_dual(dual).tangent, tangent)
        each = torch.vmap(layer)(x[None])
    assert not asked
    assert gradients["weight"].abs().sum() > 0
    assert torch.allclose(each[0], layer(x), atol=1e-6)


def test_weights_of_inference_mode_are_not_remembered(asked: list[tuple[int, ...]]) -> None:
    with torch.inference_mode():
        layer = nn.Conv2d(16, 16, 3, padding=1).requires_grad_(False)
    with torch.no_grad(), Winograd():
        first = layer(X)
        with torch.inference_mode():
            layer.weight.zero_()
        assert not torch.equal(layer(X), first)
    assert len(asked) == 2


def test_saved_images_may_come_back_in_another_layout() -> None:
    x, weight = images(64, 32, 8, 8), torch.randn(32, 32, 3, 3, requires_grad=True)

    def stored(t: Tensor) -> Tensor:
        return t.clone(memory_format=torch.contiguous_format)

    with torch.autograd.graph.saved_tensors_hooks(stored, lambda t: t), Winograd():
        F.conv2d(x, weight, padding=1).square().sum().backward()
    exact = weight.detach().double().requires_grad_()
    F.conv2d(x.double(), exact, padding=1).square().sum().backward()
    assert error(weight.grad, exact.grad) < 400  # type: ignore[arg-type]


def test_a_step_in_float32_agrees(small_run: Train) -> None:
    options: dict[str, Any] = {"teacher": "wrn_10_1", "student": "resnet8", "epochs": 1, "batch_size": 200, "lr": 0.01}
    runs = [small_run("kd", out=how, **options, set={"winograd": how}) for how in ("on", "off")]
    ours, theirs = (weights(run.folder, "student") for run in runs)
    assert not same(ours, theirs)
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=1e-5)
    for name, x in ours.items():
        assert torch.allclose(x.double(), theirs[name].double(), rtol=1e-3, atol=1e-4), name


def test_it_serves_by_default_and_only_where_it_can(small_run: Train, asked: list[tuple[int, ...]]) -> None:
    small_run("plain", "served", student="resnet8", epochs=1)
    assert asked
    for name, more in {
        "off": {"set": {"winograd": False}},
        "64": {"precision": "64-true"},
        "mixed": {"precision": "bf16-mixed"},
        "layout": {"set": {"channels_last": False}},
    }.items():
        asked.clear()
        small_run("plain", name, student="resnet8", epochs=1, **more)
        assert not asked, name


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"precision": "64-true"}, "it is for precision 32-true, and this run is in 64-true"),
        ({"set": {"compile": "frozen"}}, "compile=frozen computes convolutions its own way"),
        ({"set": {"channels_last": False}}, "it is for images with channels last"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(small_run: Train, more: dict[str, Any], reason: str) -> None:
    more = {**more, "set": {**more.get("set", {}), "winograd": "on"}}
    message = re.escape(f"winograd is on, but cannot be here: {reason}; leave it out, or set it to auto")
    with pytest.raises(DocendoError, match=f"^{message}$"):
        small_run("plain", student="resnet8", **more)


def test_a_machine_without_a_compiler_is_told_once(small_run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(name: str) -> Any:
        raise CannotBuild("no C++ compiler is installed")

    monkeypatch.setattr(winograd, "built", failing)
    said = Said()
    small_run("kd", teacher="resnet8", student="resnet8", progress=said)
    line = "3x3 convolutions take about twice as long as they could: no C++ compiler is installed"
    assert said.lines.count(line) == 1
    with pytest.raises(DocendoError, match=r"^winograd is on, but cannot be here: no C"):
        small_run("plain", "on", student="resnet8", set={"winograd": True})


def test_the_teacher_memory_keeps_both_ways_apart(small_run: Train) -> None:
    # A seed of its own: the memory of these tests knows what teachers of others have said.
    trained = small_run("plain", "t", teacher="resnet8", seed=78, set={"role": "teacher"})

    def known(out: str, how: str) -> str:
        said = Said()
        teacher = trained.folder / "teacher.safetensors"
        small_run("kd", out, teacher=teacher, student="resnet8", progress=said, set={"winograd": how})
        return next(line for line in said.lines if "answers are remembered of" in line)

    assert known("a", "on").startswith("teacher (frozen): 0 answers")
    assert known("b", "off").startswith("teacher (frozen): 0 answers")
    assert not known("c", "on").startswith("teacher (frozen): 0 answers")


def test_bench_says_whether_it_serves() -> None:
    sets = {"data.train_images": 200}
    found = {
        how: docendo.bench("plain", student="resnet8", steps=1, rounds=1, set={**sets, "winograd": how}).winograd
        for how in ("on", "off")
    }
    assert found == {"on": True, "off": False}


def test_nothing_of_it_is_left_in_networks(asked: list[tuple[int, ...]]) -> None:
    network = create("resnet8", classes=10).eval()
    with torch.no_grad():
        before = network(images(2, 3, 32, 32)).logits
        with Winograd():
            network(images(2, 3, 32, 32))
        assert asked
        asked.clear()
        assert torch.equal(network(images(2, 3, 32, 32)).logits, before)
    assert not asked


@pytest.fixture
def _nothing_built() -> Iterator[None]:
    built.cache_clear()
    yield
    built.cache_clear()


@pytest.mark.usefixtures("_nothing_built")
class TestBuilding:
    def test_no_compiler(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
        with pytest.raises(CannotBuild, match=r"^no C\+\+ compiler is installed$"):
            built("winograd.cpp")

    def test_a_compiler_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CXX", "no-such-compiler -v")
        with pytest.raises(
            CannotBuild, match=r"^no-such-compiler cannot build winograd\.cpp, .*No such file or directory"
        ):
            built("winograd.cpp")

    def test_a_compiler_that_refuses(self) -> None:
        with pytest.raises(CannotBuild, match=r"cannot build winograd\.cpp: .*error: "):
            built("winograd.cpp", ("-march=no-such-processor",))

    def test_an_assembler_that_refuses(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        compiler = tmp_path / "compiler"
        compiler.write_text(
            "#!/bin/sh\necho 'x.s: Assembler messages:' >&2; echo 'x.s:7: Error: no such' >&2; exit 1\n"
        )
        compiler.chmod(0o755)
        monkeypatch.setenv("CXX", str(compiler))
        with pytest.raises(CannotBuild, match=r"cannot build winograd\.cpp: x\.s:7: Error: no such$"):
            built("winograd.cpp")

    def test_no_room_for_what_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(**options: Any) -> Any:
            raise FileNotFoundError("No usable temporary directory found")

        monkeypatch.setattr(native, "tempfile", SimpleNamespace(TemporaryDirectory=full))
        with pytest.raises(CannotBuild, match=r"cannot build winograd\.cpp, .*: No usable temporary directory found$"):
            built("winograd.cpp")

    def test_what_cannot_be_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str) -> Any:
            raise OSError("failed to map segment from shared object")

        monkeypatch.setattr(native, "ctypes", SimpleNamespace(CDLL=refuse))
        with pytest.raises(CannotBuild, match=r"cannot be loaded: failed to map segment from shared object$"):
            built("winograd.cpp")

    def test_another_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(native, "sys", SimpleNamespace(platform="darwin"))
        with pytest.raises(CannotBuild, match=r"^only tried on Linux$"):
            built("winograd.cpp")


def test_it_has_no_threads_of_its_own() -> None:
    # A second pool would fight with PyTorch's over the processors.
    code = (
        "from docendo.engine.winograd import Winograd; Winograd(); "
        "print(*{line.split()[-1] for line in open('/proc/self/maps') if 'omp' in line.split()[-1].rpartition('/')[2]})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert len(out.split()) == 1
