"""Write what must not say anything else: docs/recipes.md, docs/data.md, docs/methods.md and
docs/losses.md from the code, and the tables of README.md and docs/targets.md from the committed result files.

python docs/make_pages.py
"""

import inspect
import json
import operator
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

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
RECIPES = """# Recipes

A recipe is a complete named run, in TOML. It holds no code, but may name functions of yours, which are imported and called:
run only recipes that you trust. A key that is not listed here is an error that names the nearest one. `limbeck run RECIPE --set section.key=value` changes one value: the value is TOML, or else a string.
This page is made by `docs/make_pages.py` from `limbeck/recipe.py`.
"""
TRANSFORMERS = """
`transformers:CLASS` is any model class of transformers, built from its config: the options are those of the config;
`vocab_size` and `num_labels` come from the data. `package.module:function` is your own: called with the options, it returns a
torch module that is called with what the data gives (a tensor, or keyword arguments) and returns a tensor, a tuple that begins
with one, a dict with "logits" or the head's name, or a transformers output. A dict with `auxiliary_loss` beside that, a number or
one for each sample, adds it to the model's loss in training, with weight 1: a penalty of your own needs no loop of your own.
"""
DATA = """# Data

`data.source` in a recipe, or `limbeck.data.load(source, path=..., options={...})`. A relative path is looked for in the
working folder, then in `$LIMBECK_DATA`. Every source ends in three splits: `train`, `validation` (models are chosen on
it) and `test` (read once, at the end). An empty split, a label out of range or a number that is not finite is refused.

Your own: `source = "package.module:function"`. The function is called with the options (and `path=`, if there is one) and
returns `(train, test)`, or a dict with "train" and maybe "validation" and "test"; each is a torch dataset of
`(input, label)` items or an `(inputs, labels)` pair of arrays. What the labels are follows from their type:

| labels | head |
|---|---|
| whole numbers `(samples,)` | one class for each sample |
| whole numbers `(samples, rows)` | one class for each token, frame, ... |
| booleans `(samples, classes)` | yes or no for each class |
| floats `(samples,)` or `(samples, numbers)` | numbers: a regression |

Classes are counted from 0. Whole numbers `(samples, 1)` are one class a sample. One-hot rows of floats are refused, for they would be
learned as numbers: give `labels.argmax(1)`.

To say anything else, several heads for example, return a `limbeck.data.DataSet`.

## New rows

A student of a table or of texts has an `encoder.json` beside its weights: columns with their means, deviations and categories,
or a vocabulary, as the training rows had them. Two lines ask it about rows that are as raw as those of the file:

```python
import limbeck
from pyarrow import csv

rows = csv.read_csv("new-houses.csv")  # or a list of dicts, a dict of columns, a data frame
encode = limbeck.data.load_encoder("runs/housing/students/small")
print(limbeck.load("runs/housing/students/small")(encode(rows)) * encode.target_scale)
```

Texts are a list of strings, and a student of them is called with keywords: `student(**encode(["How far is the moon ?"])).logits`.
Its classes are named in `student.json`. A teacher of your own gets the same inputs from `limbeck.data.load(...).encoder`, whose
`save(folder)` writes the file. Images of 8-bit integers are given to a model as floats from 0 to 1, and all else as it is.

## Sources

This page is made by `docs/make_pages.py` from the sources' own descriptions.
"""
METHODS_HEAD = """# Methods

A method is how a student learns from what the teacher said: `distil.method` in a recipe, or `limbeck.distil(..., method=...)`;
`distil.options` holds its options, and `limbeck methods NAME` prints its card. The objective is
`hard_weight` × labels + `soft_weight` × the method's loss, whose temperature T is `distil.temperature`, or else that of the targets.

```toml
[distil]
method = "dkd"
options = { others_weight = 2.0 }
hard_weight = 1.0
```

The two weights may change over training, evenly from step to step. Teacher annealing
([Clark et al. 2019](https://arxiv.org/abs/1907.04829)) begins with the teacher and ends with labels:

```toml
[distil]
soft_weight = 1.0
hard_weight = 0.0
anneal = { soft_weight = 0.0, hard_weight = 1.0 }
```

`distil.balance = 100` measures every hundred steps how hard each loss pulls on the student, by the norm of its gradient, and scales
it: weights are then shares of the pull, whatever the losses' sizes, and need no search
([GradNorm](https://arxiv.org/abs/1711.02257) at alpha = 0). A measurement costs a backward pass of each loss.

`distil.mutual_weight` lets the students of a recipe learn **from each other** (DML, [Zhang et al. 2018](https://arxiv.org/abs/1706.00384)):
each adds the mean over all others of T² KL(softmax(other / T) || softmax(own / T)), beside the teacher or, as in the paper, in its
place. No gradient goes from one to another; T is that of all soft targets, where the paper has 1.

```toml
[students.one]
model = "mlp"
options = { hidden = [32] }

[students.other]    # a twin, or any other model
model = "mlp"
options = { hidden = [32] }

[distil]
mutual_weight = 1.0
hard_weight = 1.0
soft_weight = 0.0    # as in the paper; above 0, the stored teacher teaches too
```

At each step all answer before any of them moves, as the paper's text has it; its algorithm 1 asks again after each one moved, which
costs a second forward pass. So mutual learning costs no pass more, but the activations of all students are in memory at once (of one
micro-batch, with `train.accumulate`). Students of one seed are peers, and each begins with weights of its own, the first one with those
that it has alone; a control begins as its student, and learns alone, as assistants do. Samples without a label count too. In Python,
`limbeck.distil(student, data, targets, peers=[other], mutual_weight=1.0)`.

`[distil.ema]` lets a student learn **from an average of itself** (mean teacher, [Tarvainen and Valpola 2017](https://arxiv.org/abs/1703.01780)):
after each step a copy takes in the new weights, average = decay × average + (1 - decay) × weights, and the student adds soft targets of
what that copy says. It counts samples without a label, for which it was made, and goes with a teacher or, at `soft_weight = 0`, without.

```toml
[distil]
hard_weight = 1.0
soft_weight = 0.0
ema = { decay = 0.999, weight = 1.0, ramp_up = 0.25 }
```

With `ramp_up` the weight rises as in the paper, along exp(-5 (1 - x)²) while x goes from 0 to 1 over that part of training. Otherwise than
there, the loss is soft targets (the paper compares probabilities by their squared distance); the copy sees the same view, without
dropout and with the student's own statistics of batch normalisation; and what is saved is the student, not the average, which is
dropped at the end. It costs one forward pass more, and the weights a second time, in memory and in checkpoints.
In Python, `limbeck.distil(..., ema=limbeck.recipe.Ema(decay=0.999))`.

`[distil.branches]` lets the layers of a student learn **from its own last answer** (self-distillation, be your own teacher,
[Zhang et al. 2019](https://arxiv.org/abs/1905.08094)): each module at `taps` gets a branch, a bottleneck and a classifier for each head,
which learns from labels, from soft targets of the last answer, and, where `features` names what the last layer reads, to have such
features itself. No gradient goes into that answer and those features. The branches' losses are summed, and branches are dropped at the
end. It goes with a teacher or, as in the paper, at `soft_weight = 0`, without. Samples without a label count for all but the labels.
It is for a student whose labels are many: beside a good teacher of few labels it hurt, and most where the branches learned from the
student's answer alone ([log](log.md)). With several students, each has branches at these paths. `assistants` and `generations`, which would
learn as the students do, are refused beside it, and `anneal` does not move the branches' weights.

```toml
[distil]
hard_weight = 1.0
soft_weight = 0.0

[distil.branches]
taps = ["features.3", "features.7"]
hard_weight = 0.7      # 1 - alpha
soft_weight = 0.033    # alpha / T²
temperature = 3.0
feature_weight = 0.1   # of a mean of squares: not lambda
features = "features.11"
```

Taps may give maps, vectors, or tokens, of which those that count are averaged; a head with an answer for each token needs taps that give as
many tokens. It is for every head: a binary one learns yes and no, a real one by squared error. Otherwise than in the [authors' later code](https://github.com/ArchipLab-LinfengZhang/pytorch-self-distillation-final)
the soft loss is times T², as all are here, so that their alpha of 0.3 at T = 3 is a `soft_weight` of 0.3 / 9 = 0.033, which is the default and
pulls as hard (a real head has no T: 0.3 there); features are compared, after a linear layer of the branch's own, by the mean of their squared
distances, where they take the root of the sum over the batch, so that their lambda of 0.03 is no `feature_weight`: look at the gradient norms that
`limbeck doctor` shows; what is normalised is each sample by itself, so that micro-batches and processes change nothing; and a bottleneck has
one convolution of stride 2, wherever it is. It ends as wide as the widest of all modules at `taps` and `features`, and is a quarter of that
inside, 16 channels at least. A step costs the branches more, most for maps of shallow layers; `limbeck doctor` times it and shows what each
loss pulls, but the ledger's operations do not count what is learned beside a student. In Python,
`limbeck.distil(..., branches=limbeck.recipe.Branches(taps=["features.3"]))`.

Where `soft_weight = 0` lets students learn from each other, an average or branches **without a teacher**, a recipe still has one: it is trained or
loaded, since students are measured against it, and what it says is stored. `distil.live = true` leaves the storing out, and asks nothing.

What a method **needs**: *rows*, of any codec; *dense rows*, of one that keeps every class (not `selected`, `threshold` and `topk`), or a
teacher that is asked live; *labels*: samples without one teach nothing by it, and if nothing else is learned from, an epoch
visits the labelled ones more often instead, as a control's does; *whole batches*: rows are compared with each other, so
micro-batches and processes change what is learned, and padding is left out first; *features*: see below. `limbeck doctor`
proves of a method's loss what it promises; on which data it helps, only a run with its control says.

This page is made by `docs/make_pages.py` from the cards; [adding a method](adding-a-method.md) says how to add one. The losses that
they are made of are listed in [losses](losses.md).

## Methods of rows

They learn from what the teacher answered, and so from a transfer set alone.

"""
FEATURES_HEAD = """
## Methods of features

They compare what modules inside the two models give: **taps**, each a path in the student and one in the teacher. The objective is
`hard_weight` × labels + `soft_weight` × soft targets + `feature_weight` × the method's loss. Left out, `feature_weight` is the
method's own; `soft_weight = 0` leaves soft targets out, and needs labels then. With several students a path is one of every student.
A method's own weight is its paper's, or its code's, for the models there. With others its loss may be a hundred times another's:
look at the gradient norms that `limbeck doctor` shows, and set `feature_weight`, or `balance`, by them.

```toml
[distil]
method = "fitnets"
taps = [{ student = "features.3", teacher = "features.7" }]
soft_weight = 0.9
hard_weight = 0.1
```

`distil.progressive = 0.5` lets several taps join one after another, in their order: the first is there at once, the last from the
middle of training on, so that what lies deeper is compared when what it is made of has settled (layer by layer, as progressive
blockwise distillation has it, [Wang et al. 2018](https://www.ijcai.org/proceedings/2018/384); here earlier taps go on).

```console
$ limbeck layers my-recipe.toml    # modules of both with their shapes, and pairs to begin with
$ limbeck doctor my-recipe.toml    # the taps' shapes, adapters and norms, and how hard each loss pulls
```

In Python, `limbeck.distil(student, data, targets, method="fitnets", taps=[("features.3", "features.7")], teacher=teacher)`.

A tap gives the first tensor of what its module returns; of one that is called several times, the last. It may be *maps*
`(batch, channels, height, width)`, *tokens* `(batch, tokens, features)` or *vectors* `(batch, features)`; a card says which. Padding
tokens are left out. Features are asked of the live teacher at every step, beside the stored rows, which costs its answer; or, with
`targets.features = true`, once, and kept in a transfer set of their own ([targets](targets.md#features)). The teacher must be a torch
module (not Keras). A method that needs *classifiers* finds the linear layer that reads a tap, as it is or averaged over positions, and
says so where there is none; stored features do not hold it, so that `limbeck.distil(..., features=)` refuses such a method. What a method learns beside the student (projections, memories) is drawn from
the run's seed, trained by the student's optimiser, clipped by itself (`train.clip`), averaged over processes, kept in checkpoints,
and no part of the student that is saved; student and control begin with the same weights as without it. A compiled model is run
uncompiled while it is looked into; under activation checkpointing take `use_reentrant = False`.

"""


BESIDE_HEAD = """
## Beside a method

Other keys of a recipe that say who teaches, when and how; each goes with most methods. `limbeck methods` lists them, too, and
`limbeck methods KEY`, or what papers call it (`limbeck methods byot`), prints its card.
"""
SIDE_BY_SIDE = """
## Side by side

Measured by `bench/methods.py`: 12,000 images of fashion-mnist, a convolutional teacher, a student of 1/25 of its FLOPs and some 3,600
weights, {seeds} seeds, T = 1; gains over the control that learned from labels alone, with their 95 % intervals, in points of test accuracy.
The cost is a student's seconds by its control's. Every label is there, and the student has 6 to 24 channels: little is to be gained, and what
compares features has its default weight, which is its paper's or code's, for far wider networks, and was not tuned. Controls begin with the same
weights, but for `start`, and see the same samples; with `mixup`, new views. Of so many intervals one or two are beyond 0 by chance. Not measured here:
`simkd`, whose student ends in the teacher's classifier, `pkd`, `minilm`, `tinybert` and `distilbert`, which are for tokens, and several teachers.
What is best here need not be best elsewhere: `limbeck tune` asks your own data.
"""
LOSS_COSTS = """
## What their losses cost

Forward and backward, on a CPU, by `bench/costs.py`: time and peak memory, times those of torch's cross-entropy of the same logits,
or of its squared error of the same features (MB: where that takes next to none). On one thread, and what is freed
stays with the process, so that no time is that of asking the system for memory. Of a method of features the pass of a live teacher comes on top.
"""
LOSSES = """# Losses

`limbeck.losses` are pure functions, for any training loop. Those of rows are called as `loss(student_logits, teacher_logits)`, or with
the `Sparse` rows that a transfer set gives in place of the teacher's, and give one value for each row, with no mean taken; tensors
come first, options by keyword, with the paper's defaults. A few, such as `standardised` and the masks, are parts of others.
`help(limbeck.losses.soft_targets)` says formula, shapes and ranges.
[Methods](methods.md) choose one of them in a recipe; `limbeck prove MODULE:LOSS` looks at [one of your own](prove.md).

```python
loss = limbeck.losses.soft_targets(student(x), teacher_logits, temperature=4.0).mean()
```

This page is made by `docs/make_pages.py` from their own descriptions.
"""


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
    lines = [
        SIDE_BY_SIDE.format(seeds=min(row["n"] for row in rows)),
        "| method | verdict | gain | interval | cost |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: -row["gain"]):
        name = f"[`{row['method']}`](#{row['method']})"
        low, high = row["ci95"]
        lines.append(
            f"| {name} | {row['outcome']} | {100 * row['gain']:+.2f} | {100 * low:+.2f} to "
            f"{100 * high:+.2f} | {row['cost_factor']:.1f} x |"
        )
    return "\n".join(lines) + "\n"


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


def measured() -> str:
    """The bars of every result file, and the errors on MNIST beside the published ones."""
    lines = ["| what | measured | wanted | file |", "|---|---|---|---|"]
    for path in sorted((ROOT / "bench/results").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        for row in result["rows"]:
            if path.stem == "hinton" and "published" in row:
                spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
                lines.append(
                    f"| mnist: test errors of the {row['model']}, n = {row['n']} | "
                    f"{row['errors']:.1f}{spread} | {row['published']} published | {path.name} |"
                )
        for bar in result["bars"]:
            missed = "" if HOLDS[bar["relation"]](bar["value"], bar["bar"]) else ", **not met**"
            lines.append(
                f"| {bar['name']} | {bar['value']:.4g} | {bar['relation']} {bar['bar']}{missed} | "
                f"{path.name} |"
            )
    return "\n".join(lines)


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
    ROOT / "README.md": lambda: filled(ROOT / "README.md", measured),
}
HOLDS = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
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
