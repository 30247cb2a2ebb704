"""A search for good settings of a method: what `docendo.tune` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import yaml
from optuna.exceptions import StorageInternalError

from docendo.core import Method
from docendo.engine.progress import Progress, Silent
from docendo.errors import DocendoError, Interrupted
from docendo.files import write_atomically
from docendo.methods import values_of
from docendo.recipes.settings import Request
from docendo.studies.asked import definition_of
from docendo.studies.folder import look
from docendo.studies.grid import Point
from docendo.studies.labels import fit_for_a_folder
from docendo.studies.plan import Plan, make_plan
from docendo.studies.presence import Presence, present
from docendo.studies.search import Pruner, Search
from docendo.studies.space import Range, asked_space, limits_of, own_space, read_space, usual_range
from docendo.studies.storage import JOURNAL, unreachable
from docendo.studies.tuned import Tuned, tuned

SEARCH = "search.yaml"

ALIKE = ("seed", "data.name", "data.validation", "data.split_seed", "data.train_images")
"""What must be alike in all trials, so that they can be judged by the same images."""


def tune(
    method: str | Method,
    *,
    trials: int = 20,
    search: Sequence[str] = (),
    space: str | Path | None = None,
    pruner: Pruner = "median",
    seed: int = 0,
    storage: str | None = None,
    out: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Tuned:
    """Search for settings of a method that do well on the validation images; the test images are never looked at.

    A trial is a run with the settings that Optuna's sampler chose, judged by the top-1 of the network to deploy at the
    last epoch; one that is worse than others were at the same epoch is given up. Teachers are trained once, with the
    settings as they are. The same call goes on with a search that was stopped.

    Args:
        method: a name, or the object of a method that can be named, whose settings are where the search begins.
        trials: how many, those included that are given up.
        search: what to search instead of the method's own numbers: "KEY=LOW:HIGH", "KEY=LOW:HIGH:log", "KEY=A,B", or
            "KEY" for its usual range; settings of the method or of the run.
        space: the same in a YAML file.
        pruner: when a trial is given up: "median", "hyperband" or "none".
        seed: of all runs.
        storage: lets several processes or machines share the trials, as for `docendo.compare`.
        out: the search's folder; by default named after method and data, under "runs".
        set: settings that stay as they are, by dotted key, as `docendo.train` takes them.
        progress: shows the progress of each run.
        say: is called with a line for each trial.
        options: teacher, student, recipe, data, epochs and so on, as `docendo.train` takes them.

    Returns:
        The best settings, and the command line that uses them.

    Raises:
        DocendoError: anything the user can put right, such as no validation images, in one line.
        Interrupted: Ctrl-C or SIGTERM, after saving; says how to go on.
    """
    definition = definition_of([method], [seed], None, "each", options, set or {})
    folder = Path(out) if out is not None else _default_folder(definition.methods[0].method, definition.data[0])
    plan = make_plan(definition, folder)
    point = plan.cells[0].point
    _check(point, trials)
    ranges = _ranges(point, search, space, set or {})
    look(folder, SEARCH)
    with ExitStack() as stack:
        presence = Presence(folder, alone=storage is None)
        stack.enter_context(present(presence))
        _remember(folder, plan, ranges)
        address = storage or JOURNAL
        try:
            run = stack.enter_context(closing(Search(address, folder, presence, pruner, plan.jobs, point, ranges)))
            run.do(trials, progress or Silent(), say)
            return tuned(folder, plan, run)
        except KeyboardInterrupt as error:
            raise Interrupted.told_again(error, "; all is saved, and the same command goes on") from error
        except StorageInternalError as error:
            raise unreachable(address, error) from error


def _default_folder(method: str, data: Mapping[str, Any]) -> Path:
    name = Path(str(data.get("name", "digits"))).name
    return Path("runs") / f"tune-{fit_for_a_folder(method.rpartition(':')[2])}-{name}"


def _check(point: Point, trials: int) -> None:
    settings = point.settings
    if trials < 1:
        raise DocendoError(f"trials is {trials}, but must be at least 1")
    if not point.val_images:
        raise DocendoError(
            f"a search is judged by validation images, but data.validation={settings.data.validation:g} keeps none of "
            f"{settings.data.name}: add --set data.validation=0.1"
        )
    if settings.devices * settings.nodes > 1:
        raise DocendoError(
            f"devices={settings.devices}, nodes={settings.nodes}, but a trial is judged in the process that trains: "
            "leave them at 1, and start the same command several times with --storage to use more"
        )


def _ranges(
    point: Point, search: Sequence[str], space: str | Path | None, fixed: Mapping[str, Any]
) -> dict[str, Range]:
    """Find what is searched, and make sure that all of it is allowed."""
    own = values_of(point.method)
    ranges = read_space(Path(space)) if space is not None else {}
    for word in search:
        if (asked := word.partition("=")[0]) in ranges:
            raise DocendoError(f"{asked} is to be searched twice: give each KEY once")
        if "=" in word or not isinstance(own.get(word), float) or not own[word]:
            ranges |= asked_space([word])
        else:
            ranges[word] = usual_range(own[word], limits_of(point.method, word))
    if not search and space is None:
        ranges = own_space(point.method, fixed)
    if not ranges:
        raise DocendoError(f"{point.choice.method} has no numbers to search: say what by --search KEY=LOW:HIGH")
    for key, among in ranges.items():
        if key in ALIKE:
            raise DocendoError(f"{key} cannot be searched: all trials are judged by one seed on the same images")
        if key in fixed:
            raise DocendoError(f"{key} is set to {fixed[key]}, and searched, too: leave one of the two out")
        for end in among.ends:
            whole = isinstance(end, float) and isinstance(own.get(key), int | None) and end.is_integer()
            Request(point.choice.method, {}, {**point.choice.settings, **point.run, key: int(end) if whole else end})
    return ranges


def _remember(folder: Path, plan: Plan, ranges: Mapping[str, Range]) -> None:
    """Write down what is searched, or refuse a folder in which something else was."""
    definition = plan.definition.model_dump(mode="json", exclude_defaults=True)
    space = {key: among.model_dump(mode="json", exclude_defaults=True) for key, among in ranges.items()}
    now = {**definition, "seed": plan.definition.seeds[0], "space": space}
    path = folder / SEARCH
    if path.exists():
        then = yaml.safe_load(path.read_text())
        if then != yaml.safe_load(yaml.safe_dump(now)):
            changed = [key for key in now | (then or {}) if now.get(key) != (then or {}).get(key)]
            raise DocendoError(
                f"{folder} belongs to another search ({', '.join(changed)} differ): choose another --out"
            )
        return
    write_atomically(path, yaml.safe_dump(now, sort_keys=False, allow_unicode=True).encode())
