"""How a run stands to the recipe that it started from."""

from __future__ import annotations

from typing import Any

from docendo.methods import values_of
from docendo.recipes.protocols import RECIPES, dotted
from docendo.recipes.settings import RunSettings, names_weights, values_in


def standard_of(settings: RunSettings, method: Any) -> RunSettings:
    """Give what the settings of a run would be if only its method and its recipe, if any, had been asked for.

    Args:
        settings: of the run.
        method: its method.
    """
    own = values_of(type(method)())
    if settings.recipe is None:
        return RunSettings(method=settings.method, settings=own)
    recipe = RECIPES[settings.recipe]
    return RunSettings(
        method=settings.method,
        recipe=settings.recipe,
        settings={**own, **recipe.methods.get(settings.method, {})},
        **values_in(recipe, settings.networks),
    )


def recipe_notes(settings: RunSettings) -> tuple[str, ...]:
    """Say which recipe a run follows, what of it was changed, and what may surprise; nothing without a recipe."""
    if settings.recipe is None:
        return ()
    recipe = RECIPES[settings.recipe]
    asked = values_in(recipe, settings.networks)
    wanted = {**dict(dotted(asked)), **recipe.methods.get(settings.method, {})}
    present = {**dict(dotted(settings.model_dump(exclude={"settings", "networks"}))), **settings.settings}
    changed = [f"{key} {_written(present[key])} ({_written(v)})" for key, v in wanted.items() if present[key] != v]
    differs = "; docendo list recipes says where docendo differs from what was published" if recipe.deviations else ""
    notes = [f"recipe {settings.recipe}, {'changed here: ' + ', '.join(changed) if changed else 'unchanged'}{differs}"]
    if recipe.meant_for and settings.method not in recipe.meant_for:
        notes.append(
            f"recipe {settings.recipe} is meant for {', '.join(recipe.meant_for)}: of {settings.method} it sets how "
            "networks are trained, but no weight of a loss"
        )
    teacher = settings.networks.get("teacher")
    if teacher and not names_weights(teacher) and settings.lr == asked["lr"] != recipe.training.lr:
        notes.append(
            f"warning: the teacher too is trained with lr {settings.lr:g} here, which the recipe has for the student "
            f"{settings.networks['student']} (for teachers: {recipe.training.lr:g}); one that was trained beforehand "
            "can be given by its weights"
        )
    return tuple(notes)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return f"{value:g}" if isinstance(value, float) else "unset" if value is None else str(value)
