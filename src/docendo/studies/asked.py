"""From what `docendo.compare` is asked for to the definition of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from docendo.core import Method
from docendo.errors import DocendoError, nearest
from docendo.methods import METHODS, name_of, settings_of, values_of
from docendo.methods.names import find, label_of, same_name
from docendo.recipes.settings import RUN_KEYS, flags_of, parsed
from docendo.studies.definition import StudySettings, study_settings


def definition_of(
    methods: Sequence[str | Method],
    seeds: Sequence[int],
    baseline: str | None,
    teacher_seed: int | Literal["each"],
    options: Mapping[str, Any],
    sets: Mapping[str, Any],
) -> StudySettings:
    """Define a comparison.

    Args:
        methods: names or objects.
        seeds: as the definition has them.
        baseline: likewise.
        teacher_seed: likewise.
        options: keywords of `docendo.train`.
        sets: further settings by dotted key; a method's own go to those of the methods that have them.

    Raises:
        DocendoError: an option that a study does not have, a setting that no method has.
    """
    for option in _INSTEAD:
        if options.get(option) is not None:
            raise DocendoError(f"a comparison takes no {option}: {_INSTEAD[option]}")
    flags = flags_of(options)
    run = {key: value for key, value in flags.items() if not key.startswith(("networks.", "data."))}
    data = {key.removeprefix("data."): value for key, value in flags.items() if key.startswith("data.")}
    networks = {key.removeprefix("networks."): value for key, value in flags.items() if key.startswith("networks.")}
    names = [find(method)[0] if isinstance(method, str) else name_of(method) for method in methods]
    own: list[dict[str, Any]] = [{} if isinstance(method, str) else values_of(method) for method in methods]
    for key, value in sets.items():
        taken = [i for i, name in enumerate(names) if _put(own[i], name, key, value, sets)]
        if taken:
            continue
        if key not in RUN_KEYS:
            known = {setting.key for name in names for setting in settings_of(find(name)[1])}
            raise DocendoError(f'none of {", ".join(names)} has a setting "{key}"; {nearest(key, [*known, *RUN_KEYS])}')
        run[key] = value if isinstance(value, str) and "," in value else parsed(key, value)
    return study_settings(
        {
            "methods": [{"method": name, "settings": settings} for name, settings in zip(names, own, strict=True)],
            "baseline": find(baseline)[0] if baseline is not None and baseline not in names else baseline,
            "networks": [networks],
            "data": [data],
            "seeds": list(seeds),
            "teacher_seed": teacher_seed,
            "run": run,
        }
    )


def _put(own: dict[str, Any], name: str, key: str, value: Any, sets: Mapping[str, Any]) -> bool:
    """Give a method a setting if it has such a one; where it holds another method, losses are added to that."""
    keys = {setting.key for setting in settings_of(find(name)[1])}
    first, dot, _ = key.partition(".")
    added = [label_of(one.strip()) for one in str(sets.get("add", "")).split(",")]
    if first in keys:
        own[key] = value
    elif (first == "add" or (dot and any(same_name(first, one) for one in (*METHODS, *added)))) and (
        adding := keys & {"add", "then.add"}
    ):
        own["then." + key if adding == {"then.add"} else key] = value
    else:
        return False
    return True


_INSTEAD = {
    "seed": "give --seeds",
    "resume": "it always goes on with what is there",
    "config": "write what you want to vary into a file, and start it by docendo study",
    "log": "the report draws the curves of all runs together",
    "progress": "give watch",
}
