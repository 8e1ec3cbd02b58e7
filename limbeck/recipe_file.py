"""Recipes on disk: those that come with the package, TOML files, and `section.key=value`."""

import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from limbeck._errors import RecipeError, did_you_mean
from limbeck._lookup import first_line
from limbeck._validation import Fault, explain, first_fault
from limbeck.recipe import Recipe


def shipped() -> Iterator[tuple[str, str]]:
    """Name and text of every recipe that comes with the package, sorted."""
    folder = resources.files("limbeck") / "recipes"
    names = [file.name for file in folder.iterdir() if file.name.endswith(".toml")]
    for name in sorted(name.removesuffix(".toml") for name in names):
        yield name, (folder / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that name, or of that file, with `section.key=value` overrides.

    Args:
        name: A shipped recipe's name, or the path of a TOML file.
        overrides: Each "section.key=value"; the value is TOML, or else taken as a string.

    Raises:
        RecipeError: It is missing, or says something that does not exist.
    """
    texts = dict(shipped())
    path = Path(name)
    if name in texts:
        text = texts[name]
    elif (found := _read(path)) is not None:
        text = found
    elif path.is_dir():
        inside = sorted(str(each) for each in path.glob("*.toml"))
        there = f"one in it, such as {inside[0]}" if inside else "another path: it holds none"
        raise RecipeError(f"a recipe is a TOML file, and {name} is a folder. Name {there}.")
    else:
        if path.name == "tuned.toml" and (path.parent / "recipe.toml").is_file():
            raise RecipeError(
                f"there is no {name} yet: `limbeck tune` writes it where its search is over. Run "
                "the same command again."
            )
        beside = [str(each) for each in path.parent.glob("*.toml")]
        raise RecipeError(
            f"there is no recipe file {name}, and no recipe of that name comes with Limbeck."
            f"{did_you_mean(name, [*texts, *beside])} `limbeck recipes` lists those that do."
        )
    try:
        raw = _parse(text)
    except ValueError as error:
        raise RecipeError(f"recipe {name} is not TOML: {first_line(error)}.") from None
    for override in overrides:
        _override(raw, override)
    return parse_recipe(raw, name=name)


def _read(path: Path) -> str | None:
    """The text of a file; None where there is none."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is no text: {error}. A recipe is a TOML file.") from None
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}.") from None


def parse_recipe(raw: dict[str, Any], *, name: str = "recipe") -> Recipe:
    """The recipe that a dict, as read from TOML or a report, says."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        fault = first_fault(error)
        raise RecipeError(
            f"recipe {name}: {explain(fault, Recipe)}{_way_out(fault)}{_other_name(fault, raw)}"
        ) from None
    if (where := _not_finite(recipe.model_dump())) is not None:
        raise RecipeError(
            f"recipe {name}: {where[0]} must be a finite number, got {where[1]}. A text is put in "
            f'quotes: "{where[1]}".'
        )
    return recipe


def _not_finite(value: Any, path: str = "") -> tuple[str, float] | None:
    """The first number that is none, and where it is; options of the user's own may hold one."""
    if isinstance(value, float) and not math.isfinite(value):
        return path, value
    inside: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    if isinstance(value, (list, tuple)):
        inside = enumerate(value)
    found = (_not_finite(each, f"{path}.{key}".lstrip(".")) for key, each in inside)
    return next((where for where in found if where is not None), None)


def to_toml(recipe: Recipe) -> str:
    """The recipe, every value written out, as TOML that `load_recipe` reads back."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in `raw`."""
    dotted, equals, text = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"--set takes section.key=value, got {override!r}.")
    value = read_value(text)
    section = raw
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {override}: {key} is a value, not a section.")
        section = inner
    section[keys[-1]] = value


def read_value(text: str) -> Any:
    """What is typed for a value: TOML, or else a string."""
    try:
        return _parse(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _parse(text: str) -> dict[str, Any]:
    """What TOML says; a ValueError, also where it is nested too deeply or a number too long."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _way_out(fault: Fault) -> str:
    """`as_toml` of what `--set` could only take as a string, where none was expected."""
    given = fault["input"]
    return as_toml(given) if isinstance(given, str) and fault["type"].endswith("_type") else ""


def _other_name(fault: Fault, raw: dict[str, Any]) -> str:
    """The nearest of the others' names, where one that users give began what is not whole."""
    section, name = (*fault["loc"], "", "")[:2]
    named = section in ("students", "assistants", "teachers") and name
    if fault["type"] != "missing" or not named:
        return ""
    return did_you_mean(str(name), raw[section].keys() - {name})


def as_toml(given: str) -> str:
    """How TOML writes a number or truth value that is typed otherwise; "" of all else."""
    try:
        _parse(f"value = {given}")
    except ValueError:
        if given.lower() in ("true", "false"):
            return f" TOML writes it {given.lower()}."
        with suppress(ValueError):
            return f" TOML writes it {float(given):.15g}."
    return ""
