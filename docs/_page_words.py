"""What `make_pages.py` writes around what the code says: the heads of pages and of their parts."""

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

This page is made by `docs/make_pages.py` from the cards; [adding a method](adding-a-method.md) says how to add one, and how a recipe names a function of your own. The losses that
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
The time is a student's seconds divided by its control's, each taken once, so to about a seventh; of `generations` and `assistants` it is the last student's alone. Every label is there, and the student has 6 to 24 channels: little is to be gained, and what
compares features has its default weight, which is as a rule that of its paper or code, for far wider networks, and was not tuned. Controls begin with the same
weights, but for `start`, and see the same samples; with `mixup`, new views. Of so many intervals one or two are beyond 0 by chance.
What is best here need not be best elsewhere: `limbeck tune` asks your own data.
"""
SIDE_BY_SIDE_TABLES = {
    "images": "",
    "simkd": """
`simkd` has a student of its own, which ends in the classifier of the same teacher, frozen, behind a projection; and so has its control:
""",
    "teachers": """
Two teachers, that one and another of other initial weights, weighed in each way that `ensemble.how` knows:
""",
    "tokens": """
And what is for the tokens of transformers, on other data, and beside soft targets alone: questions in six classes (trec6), a quarter of the labels,
T = 2, a transformer of four layers of 128, and one of two layers of 32 as the student. Gains are over labels alone; that one is more than soft targets is
[not shown](log.md):
""",
}
"""What is said before each of the tables, by what their rows have in common."""
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
