"""`docendo compare`."""

from __future__ import annotations

import shlex
from dataclasses import field, fields, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from cyclopts import Parameter

from docendo.cli.demo import seeds_of
from docendo.cli.options import RunOptions
from docendo.cli.show import Output
from docendo.cli.study import Jobs, Report, Storage, show_study
from docendo.errors import DocendoError

_OTHER = ("seed", "resume", "config", "log")
_HINTS = get_type_hints(RunOptions, include_extras=True)

if TYPE_CHECKING:
    SharedOptions = RunOptions
else:
    _SHARED = [(f.name, _HINTS[f.name], field(default=f.default)) for f in fields(RunOptions) if f.name not in _OTHER]
    SharedOptions = Parameter(name="*")(
        make_dataclass("SharedOptions", _SHARED, frozen=True, namespace={"__module__": __name__})
    )
"""The options of a run that all runs of a comparison have in common."""

NOTHING_ASKED = SharedOptions()


def compare(
    *methods: Annotated[str, Parameter(name="METHOD", help="Methods to compare, with spaces between.")],
    seeds: Annotated[str, Parameter(help="Seeds, with commas between: a run of each method for each.")] = "0,1,2",
    baseline: Annotated[
        str | None, Parameter(help="Method that the others are compared with (plain, or else the first).")
    ] = None,
    teacher_seed: Annotated[
        str, Parameter(help="Seed of the teachers, which are trained once for all; each: for every seed anew.")
    ] = "0",
    jobs: Jobs = 1,
    storage: Storage = None,
    report: Report = True,
    options: SharedOptions = NOTHING_ASKED,
) -> None:
    """Compare methods over several seeds, with all else equal. The same command goes on with what is left."""
    if not methods:
        from docendo.methods import METHODS

        raise DocendoError(f"compare needs METHODs: {', '.join(METHODS)}; such as: docendo compare plain kd")
    chosen = seeds_of(seeds)
    if teacher_seed != "each" and not teacher_seed.isdecimal():
        raise DocendoError(f'--teacher-seed is "{teacher_seed}", but must be a whole number of at least 0, or each')
    keywords = asked_for(options)
    words = [*methods, "--seeds", ",".join(map(str, chosen))]
    words += ["--baseline", baseline] if baseline is not None else []
    words += ["--teacher-seed", teacher_seed] if teacher_seed != "0" else []
    import docendo
    from docendo.cli.study_live import watch_on

    shown = Output()
    with watch_on(shown) as watch:
        done = docendo.compare(
            methods,
            seeds=chosen,
            baseline=baseline,
            teacher_seed="each" if teacher_seed == "each" else int(teacher_seed),
            jobs=jobs,
            storage=storage,
            watch=watch,
            command=shlex.join(["docendo", "compare", *words, *words_of(options)]),
            **keywords,
        )
    show_study(done, shown, report=report)


def asked_for(options: SharedOptions) -> dict[str, Any]:
    """Give what was asked for as keywords of `docendo.train`."""
    return RunOptions(**{f.name: getattr(options, f.name) for f in fields(options)}).keywords()


def words_of(options: SharedOptions) -> list[str]:
    """Write options as on a command line.

    >>> words_of(RunOptions(epochs=3, download=True, sets=("lr=0.1", "ema=0.9")))
    ['--download', '--epochs', '3', '--set', 'lr=0.1', '--set', 'ema=0.9']
    """
    words: list[str] = []
    for f in fields(options):
        value: Any = getattr(options, f.name)
        name = "--set" if f.name == "sets" else f"--{f.name.replace('_', '-')}"
        if value is True:
            words.append(name)
        elif value not in (None, False, ()):
            for one in value if isinstance(value, tuple) else (value,):
                words += [name, str(one)]
    return words
