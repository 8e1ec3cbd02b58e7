"""Write what must not say anything else: docs/recipes.md, docs/data.md, docs/methods.md and
docs/losses.md from the code, docs/bars.md and the tables of README.md and docs/targets.md from the
committed result files.

python docs/make_pages.py
"""

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from _measured import bars_page, in_short
from _page_words import (
    BESIDE_HEAD,
    DATA,
    FEATURES_HEAD,
    LOSS_COSTS,
    LOSSES,
    METHODS_HEAD,
    RECIPES,
    SIDE_BY_SIDE,
    SIDE_BY_SIDE_TABLES,
    TRANSFORMERS,
)
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from limbeck import losses, recipe
from limbeck.data import SOURCES
from limbeck.methods import BESIDE, METHODS, every_method
from limbeck.methods.features import FEATURE_METHODS
from limbeck.models import MODELS
from limbeck.targets import CODECS

FOLDER = Path(__file__).parent
SECTIONS: list[tuple[str, str, type[BaseModel]]] = [
    ("", "The run", recipe.Recipe),
    ("data", "What is learned from", recipe.Data),
    ("data.augment", "How views are made", recipe.Augment),
    ("teacher", "Who teaches; or, the same keys, `[teachers.NAME]`", recipe.Teacher),
    ("ensemble", "How several teach as one", recipe.Ensemble),
    ("assistants.NAME", "Who stands between", recipe.Assistant),
    ("targets", "How what it says is kept", recipe.Targets),
    ("students.NAME", "Who learns", recipe.Student),
    ("students.NAME.start", "How a student begins", recipe.Start),
    ("distil", "By what objective", recipe.Distil),
    ("distil.ema", "How a student learns from an average of itself", recipe.Ema),
    ("distil.branches", "How a student learns from its own last answer", recipe.Branches),
    ("distil.anneal", "How weights change over training", recipe.Anneal),
    ("distil.taps", "What a feature method compares: a list of these", recipe.Tap),
    (
        "train",
        "For how long: students and controls; the same keys in `[teacher.train]`",
        recipe.Train,
    ),
]
OWN_SECTIONS = {
    "data",
    "data.augment",
    "teacher",
    "teacher.train",
    "teachers",
    "ensemble",
    "assistants",
    "targets",
    "students",
    "students.NAME.start",
    "distil",
    "train",
}
"""Keys that are sections, with a table of their own."""


def losses_page() -> str:
    parts = [LOSSES.rstrip("\n")]
    for title, module in (
        ("Of rows: `limbeck.losses`", losses),
        ("Of features: `limbeck.losses.features`", losses.features),
    ):
        functions = {name: getattr(module, name) for name in sorted(module.__all__)}
        parts.append(_listed(title, functions, (), what="tensors and options"))
    return "\n".join(parts) + "\n"


def recipes_page() -> str:
    parts = [RECIPES]
    for path, title, section in SECTIONS:
        parts.append(f"\n## {f'`[{path}]` ' if path else ''}{title}\n")
        parts.append("| key | default | what it is |\n|---|---|---|")
        for key, field in section.model_fields.items():
            if f"{path}.{key}".removeprefix(".") in OWN_SECTIONS:
                continue
            text = " ".join((field.description or "").split()).replace("|", "\\|") + _words(field)
            parts.append(f"| `{key}` | {default(field)} | {text} |")
    parts.append(_listed("Models", MODELS, ("interface",)))
    parts.append(TRANSFORMERS)
    parts.append("\n## Methods\n\n" + _methods_table(every_method()))
    parts.append(_listed("Codecs", CODECS, ("name",)))
    return "\n".join(parts) + "\n"


def _words(field: Any) -> str:
    """The words that a key may be, if these are few and what it is does not say them all."""
    words = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    listed = ", ".join(f"`{word}`" for word in words)
    told = all(f"`{word}`" in field.description for word in words)
    return "" if told else f" One of {listed}."


def _methods_table(methods: Mapping[str, Any]) -> str:
    lines = ["| name | what it is | needs | cost | options |\n|---|---|---|---|---|"]
    for name, method in methods.items():
        options = ", ".join(f"`{key}` = {value}" for key, value, _ in method.option_rows)
        link = f"[`{name}`](methods.md#{name})"
        needs, cost = ", ".join(method.needs), method.card.cost_factor
        lines.append(f"| {link} | {method.card.line} | {needs} | {cost} | {options} |")
    return "\n".join(lines)


def methods_page() -> str:
    parts = [METHODS_HEAD.rstrip("\n") + "\n"]
    for head, methods in (("", METHODS), (FEATURES_HEAD, FEATURE_METHODS)):
        parts += [head.rstrip("\n") + "\n"] if head else []
        parts.append(_methods_table(methods).replace("](methods.md#", "](#"))
    parts.append(_beside())
    for name, method in every_method().items():
        parts.append(f"\n## {name}\n\n{method.card.line}\n")
        parts += _facts(method.facts)
        if method.option_rows:
            parts.append("\n| option | default | what it is |\n|---|---|---|")
            parts += [f"| `{key}` | {value} | {text} |" for key, value, text in method.option_rows]
    return "\n".join(parts) + "\n" + side_by_side() + losses_costs()


def _beside() -> str:
    parts = [BESIDE_HEAD, "| key | what it is | paper |\n|---|---|---|"]
    for name, each in BESIDE.items():
        keys = ", ".join(f"`{key}`" for key in each.keys)
        parts.append(f"| [{keys}](#{name}) | {each.line} | {each.paper.told} |")
    for name, each in BESIDE.items():
        parts.append(f"\n### {name}\n\n{each.line}\n")
        parts += _facts(each.facts | {"more": f"[{each.page}]({each.page})"})
    return "\n".join(parts)


def _facts(facts: Mapping[str, str]) -> list[str]:
    return [
        f"- **{what}**: {f'`{text}`' if what == 'formula' else text}"
        for what, text in facts.items()
    ]


def side_by_side() -> str:
    """What each method gained on the same teacher and students."""
    path = ROOT / "bench/results/methods.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    by_table: dict[str, list[Any]] = {}
    for row in sorted(rows, key=lambda row: -row["gain"]):
        by_table.setdefault(_table_of(row), []).append(row)
    lines = [SIDE_BY_SIDE.format(seeds=min(row["n"] for row in rows))]
    for table, about in SIDE_BY_SIDE_TABLES.items():
        lines += [about, "| method | verdict | gain | interval | time |", "|---|---|---|---|---|"]
        lines += [_gain(row) for row in by_table[table]]
    return "\n".join(lines) + "\n"


def _table_of(row: Mapping[str, Any]) -> str:
    """In which of `SIDE_BY_SIDE_TABLES` it is: with what it has its controls in common."""
    if row["data"] == "trec6":
        return "tokens"
    return {"simkd": "simkd", "teachers": "teachers"}.get(row["method"].partition(":")[0], "images")


def _gain(row: Mapping[str, Any]) -> str:
    card, _, how = row["method"].partition(": ")
    name = f"[`{card}`](#{card}){f' {how}' if how else ''}"
    low, high = row["ci95"]
    return (
        f"| {name} | {row['outcome']} | {100 * row['gain']:+.2f} | {100 * low:+.2f} to "
        f"{100 * high:+.2f} | {row['cost_factor']:.1f} x |"
    )


def losses_costs() -> str:
    """Time and memory of every method's loss, a line each."""
    path = ROOT / "bench/results/costs.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    lines = [
        LOSS_COSTS,
        "| loss | shape | compared with | time | memory |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['loss']} | {row['shape']} | {row['compared_with']} | {row['time']:.2g} | "
        f"{_peak(row['peak'], row['peak_bytes'])} |"
        for row in rows
        if row["loss"] != row["compared_with"]
    ]
    return "\n".join(lines) + "\n"


def _peak(ratio: float | None, peak_bytes: int) -> str:
    """Times what it is compared with, or in megabytes where that takes next to nothing."""
    return f"{peak_bytes / 2**20:.0f} MB" if ratio is None else f"{ratio:.2g}"


def _listed(
    title: str, functions: dict[str, Any], skipped: tuple[str, ...], *, what: str = "options"
) -> str:
    """Names of a dict, with each function's first line and options; names of one share a line."""
    names: dict[Any, list[str]] = {}
    for name, function in functions.items():
        names.setdefault(_told(function), []).append(f"`{name}`")
    lines = [f"\n## {title}\n", f"| name | what it is | {what} |\n|---|---|---|"]
    for told, called in names.items():
        function = functions[called[0].strip("`")]
        options = [
            f"`{part.name}`" + ("" if part.default is part.empty else f" = {part.default}")
            for part in inspect.signature(function).parameters.values()
            if part.name not in skipped
        ]
        first = inspect.cleandoc(told.__doc__ or "").partition("\n\n")[0]
        line = " ".join(first.split()).replace("|", "\\|")
        lines.append(f"| {', '.join(called)} | {line} | {', '.join(options)} |")
    return "\n".join(lines)


def _told(function: Any) -> Any:
    """The function whose description tells what it is."""
    return function.func if isinstance(function, partial) else function


def data_page() -> str:
    parts = [DATA]
    for name, source in SOURCES.items():
        text = inspect.cleandoc(source.__doc__ or "")
        told, _, options = text.partition("\nArgs:\n")
        parts.append(f"\n## `{name}`\n\n{told.strip()}\n")
        options = options.partition("\nRaises:")[0].partition("\nReturns:")[0]
        lines = [line for line in inspect.cleandoc(options).splitlines() if line.strip()]
        for line in lines:
            if line.startswith(" "):
                parts[-1] = parts[-1].rstrip("\n") + f" {line.strip()}\n"
            elif not line.startswith("cut:"):
                key, _, what = line.partition(":")
                parts.append(f"- `{key}`: {what.strip()}\n")
    return "\n".join(part.strip("\n") if part.startswith("- ") else part for part in parts) + "\n"


def costs() -> str:
    """What a row costs and loses in each code, ours and the published ones."""
    result = json.loads((ROOT / "bench/results/targets.json").read_text(encoding="utf-8"))
    lines = ["| rows of | code | bytes a row | KL, nats | squared error |", "|---|---|---|---|---|"]
    for source, codes in SHOWN.items():
        for row in result["rows"]:
            if row["source"] == source and row["code"] in codes:
                kl = "infinite" if row["kl"] is None else f"{row['kl']:.2g}"
                lines.append(
                    f"| {source}, {row['classes']:,} classes | {row['code']} | "
                    f"{row['bytes_per_row']:.3g} | {kl} | {row['squared_error']:.2g} |"
                )
    return "\n".join(lines)


def filled(path: Path, table: Callable[[], str]) -> str:
    """A page with the table as it must be."""
    said = path.read_text(encoding="utf-8")
    before, _, rest = said.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


ROOT = FOLDER.parent
WORDS = (
    "threshold (tau 0.02)",
    "threshold (tau 0.01)",
    "DistillKit top-128, 16 exact, uniform tail",
    "Megatron-LM top-128",
    "MaxText top-128",
    "RS-KD 50 draws",
    "RS-KD 200 draws",
)
BEGIN, END = "<!-- begin: made by docs/make_pages.py -->", "<!-- end -->"
PAGES: dict[Path, Callable[[], str]] = {
    FOLDER / "recipes.md": recipes_page,
    FOLDER / "data.md": data_page,
    FOLDER / "methods.md": methods_page,
    FOLDER / "losses.md": losses_page,
    FOLDER / "targets.md": lambda: filled(FOLDER / "targets.md", costs),
    FOLDER / "bars.md": bars_page,
    ROOT / "README.md": lambda: filled(ROOT / "README.md", in_short),
}
SHOWN = {
    "digits, T = 1": ("dense16", "sqrt8", "sqrt5", "selected (levels 127, cost 0.0003)"),
    "mnist, T = 1": ("dense16", "sqrt8", "sqrt5", "selected (levels 127, cost 0.0003)"),
    "mnist, T = 4": ("dense16", "sqrt8", "sqrt6", "sqrt (levels 40)"),
    "words1000, T = 1": (
        "dense16",
        "selected (levels 127, cost 0.0003)",
        "principal (step 0.05)",
        "principal (step 0.12, cost 0.0005)",
        "principal (step 0.038, cost 5e-05)",
        "threshold (tau 0.01)",
        "FKD top-5",
        "TinyViT top-10",
        "RS-KD 50 draws",
    ),
    "words, T = 1": ("principal (step 0.15)", "principal (step 0.05)", *WORDS),
    "simulated-32k, T = 1": WORDS,
    "simulated-152k, T = 1": WORDS,
}


def default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "" if field.default is None else f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
