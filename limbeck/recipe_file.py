"""Recipes on disk: those that come with the package, TOML files, and `section.key=value`."""

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from limbeck._errors import RecipeError, did_you_mean
from limbeck._lookup import first_line
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
    else:
        raise RecipeError(
            f"no recipe is called {name!r}, and no file.{did_you_mean(name, texts)} There are "
            f"{', '.join(texts)}; `limbeck recipes` lists them."
        )
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"recipe {name}: {_explain(error)}") from None


def to_toml(recipe: Recipe) -> str:
    """The recipe, every value written out, as TOML that `load_recipe` reads back."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in `raw`."""
    dotted, equals, text = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"--set takes section.key=value, got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    section = raw
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {override}: {key} is a value, not a section.")
        section = inner
    section[keys[-1]] = value


def _explain(error: ValidationError) -> str:
    """The first fault, in the words of the recipe, with the nearest known key."""
    faults = error.errors()
    # A mistyped key first: it is also why another one is missing.
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    path = [str(part) for part in fault["loc"] if not str(part).startswith("constrained-")]
    dotted = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        meant = did_you_mean(path[-1], known)
        return f"there is no key {dotted}.{meant} Known here: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"{dotted} is missing."
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if fault["type"] == "value_error":
        return f"{dotted}: {message}."
    return f"{dotted}: {message}, got {fault['input']!r}.{_as_toml(fault['input'])}"


def _as_toml(given: Any) -> str:
    """How TOML writes a number or truth value that `--set` could only take as a string."""
    if not isinstance(given, str):
        return ""
    try:
        tomllib.loads(f"value = {given}")
    except tomllib.TOMLDecodeError:
        if given.lower() in ("true", "false"):
            return f" TOML writes it {given.lower()}."
        with suppress(ValueError):
            return f" TOML writes it {float(given):.15g}."
    return ""


def _known_keys(path: Sequence[str]) -> list[str]:
    """The keys of the section that `path` leads to."""
    section: type[BaseModel] = Recipe
    steps = iter(path)
    for step in steps:
        annotation = section.model_fields[step].annotation
        if get_origin(annotation) is dict:  # students.NAME
            next(steps, None)
            annotation = get_args(annotation)[1]
        if get_origin(annotation) in (Annotated, Union):
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)
