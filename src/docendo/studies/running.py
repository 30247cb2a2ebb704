"""Studies from beginning to end: what `docendo.compare` and `docendo.study` do."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from docendo.core import Method
from docendo.errors import DocendoError, Interrupted
from docendo.studies.asked import definition_of
from docendo.studies.carry_out import carry_out
from docendo.studies.claims import Alone, Claims
from docendo.studies.definition import StudySettings, read_definition
from docendo.studies.folder import DEFINITION, command_of, finished, look, prepare, write_index
from docendo.studies.overview import Overview, Watch
from docendo.studies.plan import make_plan
from docendo.studies.presence import Presence, present
from docendo.studies.storage import need_optuna
from docendo.studies.table import Row, rows_of
from docendo.studies.watching import StudyLines
from docendo.studies.workers import Here, Processes, Workers


@dataclass(frozen=True)
class Study:
    """A study that has been carried out.

    Attributes:
        folder: its folder.
        index: what `index.json` holds: the cells, their runs by seed, and what failed.
        rows: its table.
        failed: why runs failed, by name.
    """

    folder: Path
    index: Mapping[str, Any]
    rows: tuple[Row, ...]
    failed: Mapping[str, str]


def compare(
    methods: str | Method | Sequence[str | Method],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    baseline: str | None = None,
    teacher_seed: int | Literal["each"] = 0,
    jobs: int = 1,
    storage: str | None = None,
    out: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    command: str | None = None,
    **options: Any,
) -> Study:
    """Compare methods over several seeds: everything else is equal, and teachers are trained once and shared.

    Finished runs are never repeated, and interrupted ones go on: the same call does what is left.

    Args:
        methods: names, or objects of methods that can be named.
        seeds: a run of each method for each.
        baseline: what the others are compared with; plain, or else the first.
        teacher_seed: of the teachers that serve all seeds; "each": every seed has teachers of its own.
        jobs: how many processes share the work on this machine; with more than one a script needs
            `if __name__ == "__main__":`, as processes are spawned.
        storage: lets several machines share the work: "journal" or "sqlite" for a file in the folder, or the address
            of a database; each machine makes the same call, with the same folder.
        out: the study's folder; by default named after data and networks, under "runs".
        set: further settings by dotted key, as `docendo.train` takes them; a method's own go to those that have them.
        watch: is told what happens; by default plain lines are written.
        command: the command line that does the same, to be kept with the results.
        options: teacher, student, recipe, data, epochs and so on, as `docendo.train` takes them.

    Returns:
        The folder, the index and the table. Runs that failed are in `failed`.

    Raises:
        DocendoError: anything the user can put right before the first run, in one line.
        Interrupted: Ctrl-C or SIGTERM, after saving; says how to go on.
    """
    chosen = [methods] if isinstance(methods, str) or not isinstance(methods, Sequence) else methods
    definition = definition_of(chosen, seeds, baseline, teacher_seed, options, set or {})
    folder = Path(out) if out is not None else default_folder(definition)
    return _carried_out(definition, folder, jobs, storage, watch, command)


def study(
    file: str | Path,
    *,
    jobs: int = 1,
    storage: str | None = None,
    out: str | Path | None = None,
    watch: Watch | None = None,
    command: str | None = None,
) -> Study:
    """Carry out the study that a YAML file defines, or go on with it.

    Args:
        file: the file, or the folder of a study that was begun.
        jobs: as for `compare`.
        storage: as for `compare`.
        out: the study's folder; by default that of a file called study.yaml, else one named after the file.
        watch: as for `compare`.
        command: as for `compare`.

    Returns:
        As `compare`.

    Raises:
        DocendoError: as `compare`; also a file that is no study.
        Interrupted: as `compare`.
    """
    path = Path(file)
    path = path / DEFINITION if path.is_dir() else path
    definition = read_definition(path)
    folder = Path(out) if out is not None else path.parent if path.name == DEFINITION else Path("runs") / path.stem
    return _carried_out(definition, folder, jobs, storage, watch, command)


def default_folder(definition: StudySettings) -> Path:
    """Name a comparison's folder after its data and networks: "runs/compare-digits"."""
    data = Path(str(definition.data[0].get("name", "digits"))).name
    networks = dict.fromkeys(Path(network).stem for network in definition.networks[0].values())
    return Path("runs") / "-".join(["compare", data, *networks])


def _carried_out(
    definition: StudySettings, folder: Path, jobs: int, storage: str | None, watch: Watch | None, command: str | None
) -> Study:
    if jobs < 1:
        raise DocendoError(f"jobs is {jobs}, but must be at least 1")
    if storage is not None:
        need_optuna(f"--storage {storage}")
    plan = make_plan(definition, folder)
    again = _command(folder, jobs, storage)
    with ExitStack() as stack:
        look(folder)
        presence = Presence(folder, alone=storage is None)
        stack.enter_context(present(presence))
        prepare(folder, plan)
        claims = stack.enter_context(closing(_claims(storage, folder, presence)))
        workers: Workers = Here(folder)
        if jobs > 1:
            workers = stack.enter_context(Processes(folder, jobs, presence.path))
        already = frozenset(job.name for job in plan.jobs if finished(folder, job))
        overview = Overview(plan.jobs, already, jobs)
        note = partial(write_index, folder, plan, overview.failed, command or command_of(folder) or again)
        note()
        watch = watch or StudyLines(sys.stdout)
        watch.begin(overview)
        try:
            carry_out(overview, folder, workers, claims, watch, note)
        except KeyboardInterrupt as error:
            done = f"{len(overview.finished)} of {len(overview.jobs)} runs finished"
            raise Interrupted.told_again(error, f", {done}; all is saved. Go on with: {again}") from error
        index = note()
        return Study(folder, index, tuple(rows_of(folder, index)), dict(overview.failed))


def _claims(storage: str | None, folder: Path, presence: Presence) -> Claims:
    if storage is None:
        return Alone()
    from docendo.studies.shared import Shared  # it needs Optuna

    return Shared(storage, folder, presence)


def _command(folder: Path, jobs: int, storage: str | None) -> str:
    more = [*(["--jobs", str(jobs)] if jobs > 1 else []), *(["--storage", storage] if storage else [])]
    return shlex.join(["docendo", "study", str(folder), *more])
