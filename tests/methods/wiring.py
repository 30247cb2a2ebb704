"""Who learns from whom: what is stated by hand, what a rehearsal shows, and faults planted to see that they are told.

`stated/METHOD.txt` says, for settings that reach every switch of a method, what its phases do. Nothing in these files
is written by a program: they are what the papers say, in the words of the functions under "the losses, once more".

    with detach_target=true kd=0.5; given teacher       settings that differ from the defaults; roles with weights
    phase student                                       its name
      learns student, pyramid                           roles; `student=student#1` is a network built as number 1
      frozen teacher: logits stages.1                   roles, and what the losses read of their answers
      also alternating; fraction 0.25; rate bridge 0.5; statistics batch; stream hint
      where heads = pyramid(student.stages)             names for what follows
      term student<teacher:kd | 0.5 | student.* | kl(teacher.logits, student.logits, T=4)
      predicts pyramid.stage1 | heads.outputs["stage1"].logits
    deploys student, teacher                            what comes out, the one to deploy first

A term has its name, its weight (and `sum`, if it is one over the batch), the parts of learners that its gradient
reaches (`*` stands for any text), and its value as a formula (`student.maps` are its stages as (B, C, H, W); the second
stage of every network has its channels last), whose gradients have to be those of the method as well:
so a wrong direction or a missing detach is seen even where the same parts are reached. At the end of a file,

    equivalent run: swapped ... because ...             a fault that changes nothing, and why
"""

from __future__ import annotations

import ast
import fnmatch
import math
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import scipy.special
import torch
from torch import Tensor, nn

from docendo.core import Batch, Phase, Staged
from docendo.engine.networks import Learners, fit, together
from docendo.engine.rehearse import rehearse
from docendo.methods import METHODS, make
from docendo.networks import NetworkSpec
from docendo.networks.staged import Layout
from tests.methods.turned import alike, contrast, least_wrong, turned, upright
from tests.tiny import Native

STATED = Path(__file__).parent / "stated"

WIDTHS = {"student": (4, 6, 8), "teacher": (5, 7, 10), "expert": (6, 8, 9), "scratch": (4, 9, 11), "peer": (4, 5, 7)}
"""Of the network of each role: no two stages are alike, so that what is mixed up does not fit, or differs."""


class Turned(Native):
    """A network whose second stage has its channels last, so that who forgets the layout of a stage is caught."""

    def __init__(self, spec: NetworkSpec, widths: tuple[int, int, int]) -> None:
        super().__init__(spec, *widths)
        _, second, third = self.layers
        second.append(Permuted(0, 2, 3, 1))
        third.insert(0, Permuted(0, 3, 1, 2))

    @property
    def layouts(self) -> tuple[Layout, ...]:
        return Layout(), Layout("channels last"), Layout()


class Permuted(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


# What is stated


@dataclass
class StatedPhase:
    name: str
    learns: list[str] = field(default_factory=list)
    frozen: dict[str, set[str]] = field(default_factory=dict)
    also: set[str] = field(default_factory=set)
    where: list[tuple[str, str]] = field(default_factory=list)
    terms: dict[str, tuple[str, list[str], str]] = field(default_factory=dict)
    predicts: dict[str, str] = field(default_factory=dict)


@dataclass
class Stated:
    """What happens under one choice of settings."""

    settings: dict[str, str]
    given: tuple[str, ...]
    phases: list[StatedPhase] = field(default_factory=list)
    deploys: list[str] = field(default_factory=list)


class Statement(NamedTuple):
    cases: list[Stated]
    equivalent: dict[str, str]


def read(path: Path) -> Statement:
    """Read the statement of a method; `as before` after a phase's name repeats the last phase of that name."""
    cases: list[Stated] = []
    equivalent: dict[str, str] = {}
    known: dict[str, StatedPhase] = {}
    for line in path.read_text().splitlines():
        word, _, rest = line.split("#  ")[0].strip().partition(" ")
        rest = rest.strip()
        if word == "with":
            settings, _, given = rest.partition(";")
            cases.append(Stated(dict(s.split("=") for s in settings.split()), tuple(given.split()[1:])))
        elif word == "phase":
            if rest.endswith(", as before"):
                rest = rest.removesuffix(", as before")
                phase = known[rest]
            else:
                phase = known[rest] = StatedPhase(rest)
            cases[-1].phases.append(phase)
        elif word == "learns":
            phase.learns = rest.split(", ")
        elif word == "frozen":
            role, _, reads = rest.partition(":")
            phase.frozen[role] = set(reads.split())
        elif word == "also":
            phase.also = set(rest.split("; "))
        elif word == "where":
            name, _, formula = rest.partition(" = ")
            phase.where.append((name, formula))
        elif word == "term":
            name, weight, reaches, formula = (part.strip() for part in rest.split(" | "))
            phase.terms[name] = (weight, reaches.split(), formula)
        elif word == "predicts":
            name, formula = (part.strip() for part in rest.split(" | "))
            phase.predicts[name] = formula
        elif word == "deploys":
            cases[-1].deploys = rest.split(", ")
        elif word == "equivalent":
            fault, _, why = rest.partition(" because ")
            equivalent[fault] = why
        elif word and not word.startswith("#"):
            raise ValueError(f"{path.name}: what is {line!r}?")
    return Statement(cases, equivalent)


# The losses, once more: plainly, from the papers


def sg(x: Tensor) -> Tensor:
    """Stop the gradient."""
    return x.detach()


def kl(teaches: Tensor, learns: Tensor, T: float = 1.0) -> Tensor:
    """T^2 * KL(softmax(teaches / T) || softmax(learns / T)), a sum over classes, a mean over images."""
    q, p = (teaches / T).softmax(1), (learns / T).softmax(1)
    return T * T * (q * (q.log() - p.log())).sum(1).mean()


def standard(z: Tensor) -> Tensor:
    """Less the mean of each image's, over their standard deviation."""
    gap = z - z.mean(1, keepdim=True)
    return gap / ((gap.pow(2).sum(1, keepdim=True) / (z.shape[1] - 1)).sqrt() + 1e-7)


def squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences, a sum over channels, a mean over images."""
    return (a - b).pow(2).sum(1).mean()


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences, a mean over all."""
    return (a - b).pow(2).mean()


def at(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences of attention maps, a mean over places and images."""
    maps = [f.pow(2).sum(1).flatten(1) for f in (a, b)]
    return mean_square(*(m / m.pow(2).sum(1, keepdim=True).sqrt() for m in maps))


def likelihood(target: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log likelihood under Gaussians of one variance a channel, a mean over all, without its constant."""
    v = (1 + log_scale.exp()).log().reshape(1, -1, 1, 1) + 1e-5
    return ((target - mean).pow(2) / (2 * v) + v.log() / 2).mean()


def nce(e: Tensor, rows: Any, T: float) -> Tensor:
    """-log h of the true pair and -log(1 - h) of each drawn one, h = P / (P + N / M), a mean over images."""
    N, M = rows.every[rows.drawn].shape[1], rows.images
    Z = M * scipy.special.hyp0f1(e.shape[1] / 2, 1 / (4 * T * T))
    total = e.new_zeros(())
    for one, u, v in zip(e, rows.positive, rows.every[rows.drawn], strict=True):
        of_u, of_v = ((x @ (one / one.norm()) / T).exp() / Z for x in (u, v))
        total = total - (of_u / (of_u + N / M)).log() - (N / M / (of_v + N / M)).log().sum()
    return total / len(e)


def found(a: Tensor, b: Tensor, T: float) -> Tensor:
    """-log of the softmax of cosines over T, of each row of a with those of b, at the row's own place; a mean."""
    cosines = [[x @ y / (x.norm() * y.norm()) for y in b] for x in a]
    return -torch.stack([(torch.stack(row) / T).log_softmax(0)[i] for i, row in enumerate(cosines)]).mean()


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of two lists of numbers."""
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()


def dist(teaches: Tensor, learns: Tensor, beta: float, gamma: float, T: float) -> Tensor:
    """What is left to full correlation, over the classes of an image and the images of a class, times T^2."""
    q, p = (teaches / T).softmax(1), (learns / T).softmax(1)
    images = torch.stack([1 - pearson(a, b) for a, b in zip(p, q, strict=True)]).mean()
    classes = torch.stack([1 - pearson(a, b) for a, b in zip(p.T, q.T, strict=True)]).mean()
    return T * T * (beta * images + gamma * classes)


def over(temperatures: str, loss: Callable[..., Tensor], teaches: Tensor, learns: Tensor) -> Tensor:
    """A loss of softened outputs, summed over temperatures."""
    total = learns.new_zeros(())
    for T in temperatures.split(","):
        total = total + loss(teaches, learns, T=float(T))
    return total


def images_level(teaches: Tensor, learns: Tensor, T: float) -> Tensor:
    """Squared differences of the products of images' probabilities, over the number of images."""
    q, p = (teaches / T).softmax(1), (learns / T).softmax(1)
    return sum(((p[i] * p[j]).sum() - (q[i] * q[j]).sum()) ** 2 for i in range(len(p)) for j in range(len(p))) / len(p)


def classes_level(teaches: Tensor, learns: Tensor, T: float) -> Tensor:
    """Squared differences of the products of classes' probabilities, over the number of classes."""
    q, p = (teaches / T).softmax(1).T, (learns / T).softmax(1).T
    return sum(((p[i] * p[j]).sum() - (q[i] * q[j]).sum()) ** 2 for i in range(len(p)) for j in range(len(p))) / len(p)


def length(x: Tensor) -> Tensor:
    return (x * x).sum(-1, keepdim=True).sqrt()


def sp(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences of the similarities of images, rows divided by their lengths, over all pairs."""
    similar = [f.flatten(1) @ f.flatten(1).T for f in (a, b)]
    return mean_square(*(g / length(g) for g in similar))


def pkt(teaches: Tensor, learns: Tensor) -> Tensor:
    """Divergence of the shares that images have in each other's neighbourhood, a mean over all pairs."""
    shares = []
    for f in (teaches, learns):
        near = ((f / length(f)) @ (f / length(f)).T + 1) / 2
        shares.append(near / near.sum(1, keepdim=True))
    q, p = shares
    return (q * ((q + 1e-7) / (p + 1e-7)).log()).mean()


def cc(a: Tensor, b: Tensor, gamma: float, order: int) -> Tensor:
    """Squared differences of kernels between images, a mean over all pairs."""
    kernels = []
    for f in (a, b):
        x = 2 * gamma * (f / length(f)) @ (f / length(f)).T
        kernels.append(sum(x**n / math.factorial(n) for n in range(order + 1)) * math.exp(-2 * gamma))
    return mean_square(*kernels)


def huber(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1, x * x / 2, x.abs() - 0.5).mean()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Huber differences of the distances of images, each over the mean of those of two different ones."""
    n = len(a)
    far = [torch.stack([length(f[i] - f[j]) for i in range(n) for j in range(n) if i != j]) for f in (a, b)]
    return huber(far[0] / far[0].mean() - far[1] / far[1].mean()) * (n - 1) / n


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Huber differences of the cosines at each image between any two others, the same one twice included."""
    n, cosines = len(a), []
    for f in (a, b):
        to = {(i, j): (f[j] - f[i]) / length(f[j] - f[i]) for i in range(n) for j in range(n) if i != j}
        cosines.append(torch.stack([(to[i, j] * to[i, k]).sum() for i, j in to for k in range(n) if k != i]))
    return huber(cosines[0] - cosines[1]) * (n - 1) ** 2 / n**2


def discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Maximum mean discrepancy of two sets of channels by the squared product, a mean over images; no signal is 0."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return torch.einsum("bcp,bdp->bcd", x, y).pow(2).mean()

    a, b = (f.flatten(2) / (f.flatten(2).pow(2).sum(2, keepdim=True) + 1e-300).sqrt() for f in (a, b))
    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def context(a: Tensor, b: Tensor) -> Tensor:
    """Mean squares at full size and at sides of 4, 2 and 1 that are smaller: each weighs half of the one before."""
    total, weights = mean_square(a, b), 1.0
    for i, side in enumerate((s for s in (4, 2, 1) if s < a.shape[2]), start=1):
        small = [f.unflatten(3, (side, -1)).mean(4).unflatten(2, (side, -1)).mean(3) for f in (a, b)]
        total, weights = total + mean_square(*small) / 2**i, weights + 1 / 2**i
    return total / weights


def flow(a: Tensor, b: Tensor) -> Tensor:
    """The mean over places of the product of each channel of a with each of b, (B, C, D)."""
    return torch.stack([(a * b[:, d : d + 1]).mean((2, 3)) for d in range(b.shape[1])], 2)


def partial_squares(s: Tensor, t: Tensor) -> Tensor:
    """Squares of s less t, a sum over channels and places, where t is above 0 or s above the margin of its channel."""
    total, normal = s.new_zeros(()), NormalDist()
    for c in range(t.shape[1]):
        p = min(max((t[:, c] > 0).double().mean().item(), 1e-4), 1 - 1e-4)
        h = normal.inv_cdf(p)
        std = t[:, c].clamp(min=0).mean().item() / (h * p + normal.pdf(h))
        margin = h * std - std * normal.pdf(h) / (1 - p) if 1 - p > 0.001 else -3 * std
        for a, b in zip(s[:, c].flatten(), t[:, c].flatten().tolist(), strict=True):
            known = max(b, margin) if b != 0 else margin
            if a > known or b > 0:
                total = total + (a - known) ** 2
    return total / len(s)


def decision(teaches: Tensor, learns: Tensor) -> Tensor:
    """-log of what the one that learns gives the class that the other scores highest, a mean over images."""
    return -torch.stack(
        [p.softmax(0)[q.tolist().index(q.max())].log() for p, q in zip(learns, teaches, strict=True)]
    ).mean()


def channels_first(features: Tensor) -> Tensor:
    """(B, H, W, C) to (B, C, H, W)."""
    return features.permute(0, 3, 1, 2)


def halved(features: Tensor) -> Tensor:
    """Averages of patches of 2 x 2."""
    return features.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)


def top_scores(z: Tensor, K: int, divisor: int, first: Tensor | None = None) -> Tensor:
    """The largest probability, or that of `first`, less the sum of the K - 1 largest others over the divisor."""
    total = z.new_zeros(())
    for i, f in enumerate(z.softmax(1)):
        order = f.argsort(descending=True).tolist()
        one = order[0] if first is None else int(first[i])
        order.remove(one)
        total = total + f[one] - sum(f[c] for c in order[: K - 1]) / divisor
    return total / len(z)


def formulas(images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Give what formulas may use besides the networks of a phase."""

    def ce(z: Tensor, of: Tensor = labels) -> Tensor:
        return -torch.stack([row.log_softmax(0)[y] for row, y in zip(z, of, strict=True)]).mean()

    def uniform(z: Tensor) -> Tensor:
        """KL(uniform || softmax(z))."""
        return -z.log_softmax(1).mean() - math.log(z.shape[1])

    def negative_entropy(z: Tensor) -> Tensor:
        return (z.softmax(1) * z.log_softmax(1)).sum(1).mean()

    def decoupled(teaches: Tensor, learns: Tensor, alpha: float, beta: float, T: float) -> Tensor:
        """Divergences of label against rest and within the rest, a mean over images, times T^2."""
        total = learns.new_zeros(())
        for t, s, y in zip(teaches, learns, labels.tolist(), strict=True):
            q, p = (t / T).softmax(0), (s / T).softmax(0)
            label, rest = q[y] * (q[y] / p[y]).log(), (1 - q[y]) * ((1 - q[y]) / (1 - p[y])).log()
            others = [c for c in range(len(q)) if c != y]
            q, p = q[others] / (1 - q[y]), p[others] / (1 - p[y])
            total = total + alpha * (label + rest) + beta * (q * (q / p).log()).sum()
        return T * T * total / len(labels)

    return {
        **{
            f.__name__: f
            for f in (
                sg,
                kl,
                standard,
                squares,
                mean_square,
                at,
                likelihood,
                nce,
                found,
                context,
                flow,
                partial_squares,
                decision,
                channels_first,
                halved,
                top_scores,
                ce,
                uniform,
                negative_entropy,
                decoupled,
                dist,
                over,
                images_level,
                classes_level,
                sp,
                pkt,
                cc,
                distances,
                angles,
                discrepancy,
            )
        },
        **{f.__name__: f for f in (upright, turned, contrast, alike, least_wrong)},
        "images": images,
        "labels": labels,
        "index": torch.arange(len(labels)),
    }


# What a rehearsal shows


class Seen:
    """What formulas see of a network: its output, and the stages as maps (B, C, H, W)."""

    def __init__(self, logits: Tensor, pooled: Tensor, stages: tuple[Tensor, ...], network: Any) -> None:
        self.logits, self.pooled, self.stages = logits, pooled, stages
        self.maps = network.maps(stages)


class Told:
    """Makes networks that know what they were built as, of a width for each role."""

    def __init__(self, given: tuple[str, ...]) -> None:
        self.given = given
        self.names: dict[int, str] = {}
        self.kept: list[nn.Module] = []

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> Turned:
        name = f"{role}#{number}" if number else role

        def fresh() -> Turned:
            spec = NetworkSpec(role, classes=6, channels=1, image_size=8)
            network = Turned(spec, WIDTHS[role])
            network.spec, network.factory = spec, fresh
            return network

        network = fresh()
        self.names[id(network)] = name
        self.kept.append(network)
        return network

    def is_trained(self, role: str) -> bool:
        if role not in WIDTHS:
            raise LookupError(role)
        return role in self.given

    def called(self, role: str, module: Any) -> str:
        """Give the role, and what is in it if that is not the network built for it."""
        if not isinstance(module, Staged):
            return role
        name = self.names.get(id(module), f"copy of {module.spec.architecture}")
        return role if name == role else f"{role}={name}"


class Differs(Exception):
    """What a method does is not what is stated."""


def check(stated: Stated, method: Any) -> None:
    """Rehearse a method and refuse the first thing that differs from what is stated."""

    def compare(what: str, expected: Any, actual: Any) -> None:
        if expected != actual:
            raise Differs(f"{what}: stated {expected}, found {actual}")

    with torch.random.fork_rng(), _double():
        torch.manual_seed(0)
        build = Told(stated.given)
        images, labels = torch.randn(4, 1, 8, 8), torch.tensor([1, 0, 5, 3])
        batch = Batch.of(images, labels)
        seen: list[str] = []

        def train(phase: Phase) -> Mapping[str, nn.Module]:
            seen.append(phase.name)
            fit(phase.learners, images=7)
            if len(seen) <= len(stated.phases):
                _compare_phase(stated.phases[len(seen) - 1], phase, batch, build, compare)
            else:
                rehearse(phase, batch)
            return phase.learners

        deployed = method.run(train, build)
        compare("phases", [phase.name for phase in stated.phases], seen)
        compare("deploys", stated.deploys, [build.called(role, network) for role, network in deployed.items()])


def _compare_phase(
    stated: StatedPhase, phase: Phase, batch: Batch, build: Told, compare: Callable[[str, Any, Any], None]
) -> None:
    where = f'phase "{phase.name}"'
    plan = rehearse(phase, batch)
    batch = phase.views(batch) if phase.views else batch
    compare(f"{where}, learns", stated.learns, [build.called(role, m) for role, m in phase.learners.items()])
    frozen = {build.called(role, m): set(plan.reads[role]) for role, m in phase.frozen.items()}
    compare(f"{where}, frozen", stated.frozen, frozen)
    also = {f"rate {role} {rate:g}" for role, rate in phase.learning_rates.items() if rate != 1}
    also |= {"alternating"} if phase.alternating else set()
    also |= {f"fraction {phase.fraction:g}"} if phase.fraction != 1 else set()
    also |= {f"statistics {phase.frozen_statistics}"} if phase.frozen_statistics != "running" else set()
    also |= {f"stream {phase.stream}"} if phase.stream else set()
    compare(f"{where}, also", stated.also, also)
    compare(f"{where}, terms", list(stated.terms), [term.name for term in plan.terms])
    parts = [part for of in plan.parts.values() for part in of]

    learners = Learners(phase.learners, phase.losses).requires_grad_(True).train()
    with torch.no_grad():
        answers = {role: network.eval()(batch.images) for role, network in phase.frozen.items()}
    parameters = list(learners.parameters())
    buffers = {name: buffer.clone() for name, buffer in learners.named_buffers()}
    terms = {term.name: term for term in learners(batch, answers)}
    for name, buffer in learners.named_buffers():
        buffer.data.copy_(buffers[name])  # formulas see what the losses saw
    names: dict[str, Any] = formulas(batch.images, batch.labels)
    for role, learner in learners.roles.items():
        names[role] = Seen(*learner(batch.images), learner) if isinstance(learner, Staged) else learner
    names.update({role: Seen(*answer, phase.frozen[role]) for role, answer in answers.items()})
    # A formula that does not fit the networks at hand is a difference too: under a fault these may be others.
    try:
        for name, formula in stated.where:
            names[name] = eval(formula, names)
        for term in plan.terms:
            if term.name not in stated.terms:
                continue
            weight, reaches, formula = stated.terms[term.name]
            number, _, over = weight.partition(" ")
            if not math.isclose(eval(number), term.weight, rel_tol=1e-9):
                compare(f"{where}, weight of {term.name}", number, term.weight)
            compare(f"{where}, {term.name} over the batch", over or "mean", terms[term.name].over_batch)
            wanted = [part for part in parts if any(fnmatch.fnmatchcase(part, pattern) for pattern in reaches)]
            compare(f"{where}, {term.name} reaches", sorted(wanted), sorted(term.reaches))
            value = eval(formula, names)
            actual = terms[term.name].value
            if not torch.allclose(actual, value, rtol=1e-9, atol=1e-12):
                compare(f"{where}, value of {term.name}", value.item(), actual.item())
            elif not torch.allclose(_gradient(actual, parameters), _gradient(value, parameters), rtol=1e-7, atol=1e-11):
                compare(f"{where}, gradient of {term.name}", "that of its formula", "another")
        predicted = phase.predictions(together(learners.roles, answers, batch), batch) if phase.predictions else {}
        compare(f"{where}, predicts", list(stated.predicts), list(predicted))
        for name in set(predicted) & set(stated.predicts):
            if not torch.equal(predicted[name], eval(stated.predicts[name], names)):
                compare(f"{where}, predicts {name}", stated.predicts[name], "something else")
    except (RuntimeError, LookupError, AttributeError, TypeError) as error:
        compare(where, "formulas that fit", repr(error))


def _gradient(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if gradient is None else gradient).flatten()
            for p, gradient in zip(parameters, gradients, strict=True)
        ]
    )


@contextmanager
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# Faults


@dataclass
class Fault:
    """A mistake in the source of one module."""

    module: str
    function: str
    text: str
    source: str
    touched_a_graph: bool = False
    was_run: bool = False

    @property
    def is_void(self) -> bool:
        """Whether nothing came of it, and nothing can.

        The method never gets to the function, or a graph was cut where there is none: on labels, or what frozen
        networks say.
        """
        return not self.was_run or ("detach" in self.text and not self.touched_a_graph)

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Put the module with the mistake in the place of the right one, wherever its names are used."""
        right = sys.modules[self.module]
        wrong = types.ModuleType(f"{self.module}_with_a_fault")
        wrong.__dict__.update(_detached=self._detached, _looked_at=self._looked_at, _runs=self._runs)
        sys.modules[wrong.__name__] = wrong
        changed: list[tuple[dict[str, Any], str, Any]] = []
        heirs: list[tuple[Any, tuple[type, ...]]] = []
        try:
            exec(compile(self.source, f"{self.module} with {self.text}", "exec"), wrong.__dict__)
            own = {
                name: value
                for name, value in vars(right).items()
                if getattr(value, "__module__", None) == self.module and name in vars(wrong)
            }
            for name, module in list(sys.modules.items()):
                if module is not None and name.startswith(("docendo.methods", "docendo.branches")):
                    for key, value in list(vars(module).items()):
                        if key in own and value is own[key]:
                            changed.append((vars(module), key, value))
                            vars(module)[key] = vars(wrong)[key]
            for key, cls in list(METHODS.items()):
                if cls.__name__ in own and cls is own[cls.__name__]:
                    changed.append((METHODS, key, cls))  # type: ignore[arg-type]
                    METHODS[key] = vars(wrong)[cls.__name__]
            for heir in METHODS.values():
                if any(base is own.get(base.__name__) for base in heir.__bases__):
                    heirs.append((heir, heir.__bases__))
                    heir.__bases__ = tuple(vars(wrong).get(base.__name__, base) for base in heir.__bases__)
            yield
        finally:
            for heir, bases in heirs:
                heir.__bases__ = bases
            for place, key, value in changed:
                place[key] = value
            del sys.modules[wrong.__name__]

    def _runs(self) -> None:
        self.was_run = True

    def _looked_at(self, value: Any) -> Any:
        self._detached(value)
        return value

    def _detached(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            self.touched_a_graph |= value.requires_grad
            return value.detach()
        if isinstance(value, Mapping):
            return {key: self._detached(v) for key, v in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._detached(v) for v in value))
        if isinstance(value, (tuple, list)):
            return type(value)(self._detached(v) for v in value)
        if hasattr(value, "__len__") and hasattr(value, "__getitem__"):  # a record of what is read
            return tuple(self._detached(value[i]) for i in range(len(value)))
        return value


Replacement = tuple[str, ast.AST, ast.AST]
DETACH_THEIR_SECOND = {
    "kd",
    "logit_mse",
    "attention_transfer",
    "hint",
    "feature_distance",
    "dkd",
    "vid",
    "crd_bank",
    "hierarchical_context",
    "ofd",
    "hard_distillation",
    "simkd",
}
"""Losses that detach what teaches, unless told otherwise (see tests/losses): to detach it before changes nothing."""
SWITCHES = ("detach_target", "block")
OF_OUTPUTS = ("logits", "pooled", "stages", "deepest", "outputs")


def faults_of(method: str) -> list[Fault]:
    """Give all faults for a method: in its file, in those of its helpers, and in those of the branches it uses."""
    cls = METHODS[method]
    own = sys.modules[cls.__module__]
    of_methods = {c.__module__ for c in METHODS.values()}
    used = {getattr(value, "__module__", None) or "" for value in vars(own).values()}
    used |= {
        getattr(value, "__module__", None) or ""
        for m in used & set(sys.modules) - of_methods
        if m.startswith("docendo.branches")
        for value in vars(sys.modules[m]).values()
    }
    helpers = {
        m for m in used if m.startswith("docendo.methods.") and m not in of_methods and m != "docendo.methods.settings"
    }
    if method != "kd":  # which stands for all whose losses are put together there
        helpers.discard("docendo.methods.taught")
    branches = {m for m in used if m.startswith("docendo.branches.")}
    roles = sorted({*make(method).roles, *(r for m in (own.__name__, *helpers) for r in _roles_in(_tree(m)))})
    faults = []
    for module in (own.__name__, *sorted(helpers), *sorted(branches)):
        tree = _tree(module)
        faulty = _in_branches if module in branches else _in_methods
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            replacements = list(faulty(function, roles))
            mark = ast.parse("_runs()").body[0]
            function.body.insert(0, mark)
            for text, old, new in replacements:
                ast.fix_missing_locations(_swapped(tree, old, new))
                faults.append(Fault(module, function.name, f"{function.name}: {text}", ast.unparse(tree)))
                _swapped(tree, new, old)
            function.body.remove(mark)
    return faults


def source_of(module: str) -> str:
    """Give the source of a module."""
    path = sys.modules[module].__file__
    assert path is not None
    return Path(path).read_text()


def _tree(module: str) -> ast.Module:
    return ast.parse(source_of(module))


def _roles_in(tree: ast.AST) -> set[str]:
    return {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_name(n.value, "net")}


def _in_methods(function: ast.FunctionDef, roles: list[str]) -> Iterator[Replacement]:
    if function.name in ("notes", "ensembles", "refuse_twice"):
        return
    nodes = list(_nodes(function))
    if function.name != "predictions":  # where nothing is learned
        yield from _detaching(nodes)
    yield from _mixing_up(nodes, roles)
    yield from _leaving_out(nodes)


def _in_branches(function: ast.FunctionDef, roles: list[str]) -> Iterator[Replacement]:
    if function.name not in ("__init__", "forward", "maps"):
        return
    nodes = list(_nodes(function))
    yield from _leaving_out(nodes)
    if function.name == "forward":
        for node in nodes:
            if isinstance(node, ast.Return) and node.value is not None:
                yield f"detached {ast.unparse(node)}", node.value, _call("_detached", node.value)


def _nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Give the nodes of a function's body that do something: no annotations, no error messages, no texts to read."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.Raise, ast.FunctionDef)):
            continue
        yield node
        skipped = [node.annotation] if isinstance(node, ast.AnnAssign) else []
        waiting.extend(child for child in ast.iter_child_nodes(node) if child not in skipped)


def _detaching(nodes: list[ast.AST]) -> Iterator[Replacement]:
    for node in nodes:
        if isinstance(node, ast.Call):
            name = _name(node.func)
            shown = ast.unparse(node)
            if name == "detach":
                yield f"removed the detach of {shown}", node, node.func.value  # type: ignore[attr-defined]
            switches = [k for k in node.keywords if k.arg in SWITCHES]
            if switches and len(node.args) > 1:
                yield f"flipped {switches[0].arg} in {shown}", node, _flipped(node, switches[0])
            elif name in ("kd", "logit_mse"):
                yield f"detach_target=False in {shown}", node, _flipped(node, None)
            if isinstance(node.func, ast.Attribute) and _is_name(node.func.value, "net"):
                yield f"detached {shown}", node, _call("_detached", node)
            if _is_loss(node):
                for i, argument in enumerate(node.args[:2]):
                    if not (i == 1 and name in DETACH_THEIR_SECOND and not switches):
                        yield f"detached argument {i + 1} of {shown}", argument, _call("_detached", argument)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    done = {id(a) for call in calls if _is_loss(call) for a in call.args}
    done |= {
        id(call.func.value) for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "detach"
    }
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in OF_OUTPUTS and id(node) not in done:
            yield f"detached {ast.unparse(node)}", node, _call("_detached", node)


def _mixing_up(nodes: list[ast.AST], roles: list[str]) -> Iterator[Replacement]:
    for node in nodes:
        if isinstance(node, ast.Attribute) and _is_name(node.value, "net"):
            for role in roles:
                if role != node.attr:
                    yield f"net.{role} for {ast.unparse(node)}", node, ast.Attribute(node.value, role, ast.Load())
        if isinstance(node, ast.Constant) and node.value in roles and len(roles) > 1:
            other = roles[(roles.index(node.value) + 1) % len(roles)]
            yield f'"{other}" for "{node.value}" in line {node.lineno}', node, ast.Constant(other)
        if isinstance(node, ast.Call) and _is_loss(node) and len(node.args) > 1:
            swapped = ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
            yield f"swapped arguments of {ast.unparse(node)}", node, swapped
        if isinstance(node, ast.Dict) and len(node.keys) > 1:
            shown = [ast.unparse(value) for value in node.values]
            for i in (i for i in range(len(shown) - 1) if shown[i] != shown[i + 1]):
                values = list(node.values)
                values[i], values[i + 1] = values[i + 1], values[i]
                yield f"swapped values {i + 1} and {i + 2} of {ast.unparse(node)}", node, ast.Dict(node.keys, values)
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and not isinstance(node.slice, ast.Slice)
            and not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str))
        ):
            less = ast.BinOp(node.slice, ast.Sub(), ast.Constant(1))
            yield f"index less 1 in {ast.unparse(node)}", node, ast.Subscript(node.value, less, ast.Load())


def _leaving_out(nodes: list[ast.AST]) -> Iterator[Replacement]:
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, (ast.Yield, ast.YieldFrom)):
            yield f"left out {ast.unparse(node)}", node, ast.Pass()
        if isinstance(node, (ast.For, ast.comprehension)):
            for cut in ("[1:]", "[:-1]"):
                yield f"only {cut} of {ast.unparse(node.iter)}", node.iter, _cut(node.iter, cut)
        if isinstance(node, ast.Dict):
            for i, key in enumerate(node.keys):
                rest = [j for j in range(len(node.keys)) if j != i]
                less = ast.Dict([node.keys[j] for j in rest], [node.values[j] for j in rest])
                yield f"left out {ast.unparse(key) if key else '**'} of {ast.unparse(node)}", node, less
        if isinstance(node, ast.Call) and _is_name(node.func, "zip"):
            for i, argument in enumerate(node.args):
                for cut in ("[1:]", "[:-1]"):
                    arguments = [_cut(a, cut) if a is argument else a for a in node.args]
                    shown = f"only {cut} of argument {i + 1} of {ast.unparse(node)}"
                    yield f"{shown}, still strict", node, ast.Call(node.func, arguments, node.keywords)
                    yield f"{shown}, not strict", node, ast.Call(node.func, arguments, [])


def _is_loss(call: ast.Call) -> bool:
    import docendo.losses

    return isinstance(call.func, ast.Name) and call.func.id in docendo.losses.__all__


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _call(name: str, argument: ast.AST) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])  # type: ignore[list-item]


def _flipped(call: ast.Call, switch: ast.keyword | None) -> ast.Call:
    """Turn the switch of a loss, and see whether what teaches had a graph at all."""
    value = ast.Constant(False) if switch is None else ast.UnaryOp(ast.Not(), switch.value)
    turned = ast.keyword(switch.arg if switch else "detach_target", value)
    learns, teaches, *more = call.args
    rest = [keyword for keyword in call.keywords if keyword is not switch]
    return ast.Call(call.func, [learns, _call("_looked_at", teaches), *more], [*rest, turned])


def _cut(node: ast.expr, cut: str) -> ast.expr:
    shown = ast.unparse(node)
    return ast.parse(f"list({shown}){cut}", mode="eval").body


def _swapped(tree: ast.AST, old: ast.AST, new: ast.AST) -> ast.AST:
    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return new if node is old else self.generic_visit(node)

    return Swap().visit(tree)
