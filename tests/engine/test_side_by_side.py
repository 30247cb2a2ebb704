"""Works that take turns at their questions, and networks that answer several of them at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn

from docendo.core import Batch, Output
from docendo.engine.networks import Reads, freeze
from docendo.engine.side_by_side import Ask, Question, at_once, side_by_side, what_it_is
from docendo.networks import create

ALL: Reads = frozenset({"logits", "pooled", "stages.0", "stages.2"})


def question(network: nn.Module | None, images: torch.Tensor, reads: Reads = ALL) -> Question:
    frozen = {} if network is None else {"teacher": network}
    batch = Batch.of(images, torch.zeros(len(images)))
    return Question(frozen, {"teacher": reads}, batch, nullcontext, lambda role: what_it_is(frozen[role]))


def teacher(seed: int = 0, *, training: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    network = create("resnet8", classes=3).double()
    freeze({"teacher": network}, "batch" if training else "running")
    return network


def pictures(seed: int, count: int) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def calls_of(*networks: nn.Module) -> list[int]:
    """Count the images of each forward call."""
    seen: list[int] = []
    for network in networks:
        network.stages[0].register_forward_pre_hook(lambda stage, given: seen.append(len(given[0])))  # type: ignore
    return seen


def asking(network: nn.Module | None, images: torch.Tensor, reads: Reads = ALL) -> Callable[[Ask], object]:
    return lambda ask: ask(question(network, images, reads))


def test_works_take_turns_and_give_what_they_return() -> None:
    happened: list[str] = []

    def work(name: str, questions: int) -> Callable[[Ask], str]:
        def of(ask: Ask) -> str:
            for i in range(questions):
                happened.append(f"{name}{i}")
                assert ask(question(None, pictures(0, 1))) == {}
            return name

        return of

    assert side_by_side([work("a", 1), work("b", 3), work("c", 2)]) == ["a", "b", "c"]
    assert happened == ["a0", "b0", "c0", "b1", "c1", "b2"]


def test_a_network_that_several_have_answers_them_in_one_batch() -> None:
    first, second = teacher(), teacher()  # two copies
    images = [pictures(1, 4), pictures(2, 2)]
    expected = [at_once(question(first, some))["teacher"] for some in images]
    seen = calls_of(first, second)
    answers = side_by_side([asking(first, images[0]), asking(second, images[1])])
    assert seen == [6]
    for answer, alone in zip(answers, expected, strict=True):
        got = answer["teacher"]
        torch.testing.assert_close(got.logits, alone.logits)
        torch.testing.assert_close(got.pooled, alone.pooled)
        torch.testing.assert_close(got.stages[0], alone.stages[0])
        assert got.stages[1] is None
        torch.testing.assert_close(got.stages[2], alone.stages[2])


@pytest.mark.parametrize(
    ("networks", "reads", "sizes"),
    [
        ((teacher(0), teacher(1)), (ALL, ALL), (8, 8)),  # other weights
        ((teacher(), teacher()), (ALL, frozenset({"logits"})), (8, 8)),  # other things are read
        ((teacher(), teacher()), (ALL, ALL), (8, 16)),  # images of another size
        ((teacher(training=True), teacher(training=True)), (ALL, ALL), (8, 8)),  # statistics of each batch
    ],
)
def test_what_is_not_the_same_question_is_answered_apart(
    networks: tuple[nn.Module, nn.Module], reads: tuple[Reads, Reads], sizes: tuple[int, int]
) -> None:
    images = [torch.randn(4, 3, size, size, dtype=torch.float64) for size in sizes]
    seen = calls_of(*networks)
    works = [asking(n, x, r) for n, x, r in zip(networks, images, reads, strict=True)]
    answers = side_by_side(works)
    assert seen == [4, 4]
    for answer, work in zip(answers, works, strict=True):
        alone = work(at_once)["teacher"]  # type: ignore[index]
        assert torch.equal(answer["teacher"].logits, alone.logits)


def test_each_draws_from_a_random_state_of_its_own() -> None:
    def drawing(seed: int) -> Callable[[Ask], torch.Tensor]:
        def work(ask: Ask) -> torch.Tensor:
            torch.manual_seed(seed)
            drawn = []
            for _ in range(3):
                drawn.append(torch.rand(2))
                ask(question(None, pictures(0, 1)))
            return torch.cat(drawn)

        return work

    torch.manual_seed(5)
    before = torch.get_rng_state()
    beside = side_by_side([drawing(1), drawing(2)])
    assert torch.equal(torch.get_rng_state(), before)
    for seed, drawn in zip((1, 2), beside, strict=True):
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.rand(6))


def test_what_one_sets_holds_for_it_alone() -> None:
    def strict(ask: Ask) -> bool:
        torch.use_deterministic_algorithms(True)
        ask(question(None, pictures(0, 1)))
        return torch.are_deterministic_algorithms_enabled()

    def lax(ask: Ask) -> bool:
        ask(question(None, pictures(0, 1)))
        return torch.are_deterministic_algorithms_enabled()

    assert side_by_side([strict, lax]) == [True, False]
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_error_of_one_is_its_end_and_nobody_elses() -> None:
    def failing(ask: Ask) -> None:
        ask(question(None, pictures(0, 1)))
        raise ValueError("mine")

    def going(ask: Ask) -> int:
        for _ in range(3):
            ask(question(None, pictures(0, 1)))
        return 3

    failed, finished = side_by_side([failing, going])
    assert isinstance(failed, ValueError)
    assert finished == 3


def test_a_second_ctrl_c_ends_all_at_once_and_tidies_up() -> None:
    tidied: list[str] = []

    def impatient(ask: Ask) -> None:
        ask(question(None, pictures(0, 1)))
        raise KeyboardInterrupt

    def careful(ask: Ask) -> None:
        try:
            while True:
                ask(question(None, pictures(0, 1)))
        finally:
            tidied.append("yes")

    with pytest.raises(KeyboardInterrupt):
        side_by_side([careful, impatient])
    assert tidied == ["yes"]


class Stream:
    """Stands for a GPU's queue: knows all that is done before what it is given next."""

    def __init__(self) -> None:
        self.before: set[str] = set()

    def wait_stream(self, other: "Stream") -> None:
        self.before |= other.before


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Stream]:
    """Pretend that there are streams; give what tells the one of now."""
    entered = [Stream()]

    @contextmanager
    def entering(stream: Stream) -> Iterator[None]:
        entered.append(stream)
        try:
            yield
        finally:
            entered.pop()

    for name, pretended in (("Stream", Stream), ("stream", entering), ("current_stream", lambda: entered[-1])):
        monkeypatch.setattr(torch.cuda, name, pretended)
    return lambda: entered[-1]


def test_on_a_gpu_lanes_wait_for_answers_and_not_for_each_other(
    streams: Callable[[], Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[set[str]] = []
    stepped: dict[str, set[str]] = {}

    def answering(frozen: object, reads: object, batch: Batch) -> dict[str, Output]:
        answered.append({*streams().before})
        streams().before.add(f"answer {len(answered)}")
        return {"teacher": Output(batch.images, batch.images, (batch.images,))}

    def work(name: str) -> Callable[[Ask], None]:
        def of(ask: Ask) -> None:
            for step in (1, 2):
                streams().before.add(f"images {name}{step}")
                ask(question(shared, pictures(0, 2)))
                stepped[f"{name}{step}"] = {*streams().before}
                streams().before.add(f"step {name}{step}")

        return of

    shared = teacher()
    monkeypatch.setattr("docendo.engine.side_by_side.answer", answering)
    assert side_by_side([work("a"), work("b")], torch.device("cuda")) == [None, None]
    first = {"images a1", "images b1"}
    second = first | {"answer 1", "step a1", "step b1", "images a2", "images b2"}
    assert answered == [first, second]
    assert stepped["a1"] == stepped["b1"] == first | {"answer 1"}, "b's step does not wait for a's"
    assert stepped["a2"] == stepped["b2"] == second | {"answer 2"}
    assert {"step a2", "step b2"} <= streams().before
