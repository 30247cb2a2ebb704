"""What `train` and `explain` are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from docendo.cli.errors import number
from docendo.errors import DocendoError

Whole = Annotated[int | None, Parameter(converter=number)]
Real = Annotated[float | None, Parameter(converter=number)]


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """The options of a run; what is None was not given."""

    teacher: Annotated[str | None, Parameter(help="Network name, or weights file; without weights it is trained.")] = (
        None
    )
    student: Annotated[str | None, Parameter(help="Network name, or weights file to start from.")] = None
    expert: Annotated[str | None, Parameter(help="A teacher that is trained beforehand, of methods with two.")] = None
    scratch: Annotated[str | None, Parameter(help="A teacher that learns beside the student, of such methods.")] = None
    peer: Annotated[str | None, Parameter(help="A network that learns beside the student as its equal.")] = None
    networks: Annotated[
        str | None, Parameter(help="TEACHER:STUDENT, both in one, such as resnet32x4:resnet8x4 (docendo list pairs).")
    ] = None
    add: Annotated[
        tuple[str, ...],
        Parameter(negative=(), show_default=False, help="Add a transfer method's loss (at, sp, ...); repeatable."),
    ] = ()
    pair: Annotated[
        tuple[str, ...],
        Parameter(negative=(), show_default=False, help="T:S: compare stage T of the teacher with S; repeatable."),
    ] = ()
    pretrained: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Start timm and torchvision networks from published weights."),
    ] = False
    data: Annotated[str | None, Parameter(help="digits (default), another name (docendo list data), or a path.")] = None
    root: Annotated[Path | None, Parameter(help="Folder of named data sets (~/.cache/docendo).")] = None
    download: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Fetch a named data set that is not there.")
    ] = False
    skip_corrupt: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Leave out images that cannot be read, and list them.")
    ] = False
    image_size: Annotated[Whole, Parameter(help="Side in pixels; by default the data set's own.")] = None
    recipe: Annotated[
        str | None,
        Parameter(help="Published protocol to start from (docendo list recipes); --config, options and --set go over."),
    ] = None
    epochs: Annotated[
        Whole, Parameter(help="Epochs of a full phase (digits 20, images up to 64 pixels 240, else 100).")
    ] = None
    batch_size: Annotated[Whole, Parameter(help="Images a step (64).")] = None
    lr: Annotated[Real, Parameter(help="Learning rate (0.05).")] = None
    seed: Annotated[Whole, Parameter(help="Seed of first weights, order and views (0).")] = None
    out: Annotated[Path | None, Parameter(help="Run folder; by default in runs, named after what it is.")] = None
    config: Annotated[Path | None, Parameter(help="YAML file of settings, such as another run's config.yaml.")] = None
    sets: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative=(), show_default=False, help="KEY=VALUE: any further setting, repeatable."),
    ] = ()
    resume: Annotated[bool, Parameter(negative=(), show_default=False, help="Go on with the run in --out.")] = False
    accelerator: Annotated[Literal["auto", "cpu", "cuda", "mps"] | None, Parameter(help="Where to compute (auto).")] = (
        None
    )
    devices: Annotated[Whole, Parameter(help="Devices, or CPU processes, on each machine (1).")] = None
    nodes: Annotated[Whole, Parameter(help="Machines; start them by torchrun or SLURM (1).")] = None
    strategy: Annotated[str | None, Parameter(help="Lightning Fabric's strategy (auto).")] = None
    precision: Annotated[str | None, Parameter(help="Number format: 16-mixed, bf16-mixed, ... (32-true).")] = None
    teacher_memory: Annotated[
        str | None, Parameter(help="Disk for frozen networks' logits, shared by all runs: off, 20GB (auto).")
    ] = None
    log: Annotated[
        Literal["tensorboard", "wandb", "mlflow", "trackio"] | None,
        Parameter(help="Where losses and accuracies go besides the run folder."),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """Give what was asked for as keywords of `docendo.train`."""
        given = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("sets", "add", "pair", "networks")
        }
        if self.networks is not None:
            given |= self._both(self.networks)
        sets = pairs(self.sets)
        for option, key, given_here in (("pair", "pairs", self.pair), ("add", "add", self.add)):
            if given_here and key in sets:
                raise DocendoError(f"--{option} and --set {key}={sets[key]} are both given: give one of them")
            if given_here:
                sets[key] = ",".join(given_here)
        return {**{k: v for k, v in given.items() if v is not None and v is not False}, "set": sets}

    def _both(self, networks: str) -> dict[str, str]:
        from docendo.recipes.pairs import pair_of

        for option in (pair := pair_of(networks, "--networks")):
            if getattr(self, option) is not None:
                raise DocendoError(f"--networks and --{option} are both given: give one of them")
        return pair

    def of_explain(self) -> dict[str, Any]:
        """Give those of the keywords that `docendo.explain` takes, which has no run folder."""
        return {k: v for k, v in self.keywords().items() if k not in ("out", "resume", "log")}


NOTHING_ASKED = RunOptions()


def own_options() -> set[str]:
    """Give the dotted keys of the settings that have an option of their own."""
    from docendo.recipes.settings import KEYS

    return {KEYS.get(f.name, f.name) for f in fields(RunOptions)}


def pairs(sets: Iterable[str]) -> dict[str, str]:
    """Take KEY=VALUE apart.

    >>> pairs(["branch_kl=2", "then.temperature=2"])
    {'branch_kl': '2', 'then.temperature': '2'}

    Raises:
        DocendoError: if there is no "=", or a key twice.
    """
    found: dict[str, str] = {}
    for pair in sets:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise DocendoError(f'--set is "{pair}", but must be KEY=VALUE, such as --set optimizer.momentum=0.95')
        if key.strip() in found:
            raise DocendoError(f"--set {key.strip()} is given twice: give it once")
        found[key.strip()] = value.strip()
    return found
