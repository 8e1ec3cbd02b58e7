"""A recipe: a complete named run, in TOML. It holds no code, but may name functions to call.

`[data]` what is learned from, `[teacher]` who teaches (or `[teachers.NAME]`, several, who teach as
one, as `[ensemble]` says), `[assistants.NAME]` who stands between,
`[targets]` how what they say is kept, `[students.NAME]` who learns (several learn in one pass),
`[distil]` by what objective, `[train]` for how long. Students and their controls share `[train]`;
the teacher has `[teacher.train]`.
"""

import re
from functools import update_wrapper
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from limbeck._errors import OptionError
from limbeck._validation import explain, first_fault

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
GENERATION_SEED = 2_000_000
"""Seeds of earlier generations begin after this one, for none is to begin as who learns from it:
a run's students have those from 0, a search's those from 1,000,000."""
PEER_SEED = 3_000_000
"""How far apart the seeds are that students begin with who teach each other."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Section(BaseModel):
    """A part of a recipe: frozen, no key that is not declared, no value of another type."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            kind = type(self)
            raise OptionError(f"{kind.__name__}: {explain(first_fault(error), kind)}") from None

    # With BaseModel's mark on it a section within a section is not made, and refused, by itself.
    update_wrapper(__init__, BaseModel.__init__)


class Augment(_Section):
    """How views 1, 2, ... of an image are made; view 0 is the image as it came.

    No shift comes again before all have: `(2 shift + 1)^2` of them, twice as many with `flip`.
    """

    shift: Annotated[int, Field(ge=0)] = 0
    """Pixels, at most, that a view is moved by in each direction."""
    flip: bool = False
    """Whether half of the views are mirrored left to right."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Degrees, at most, that a view is turned by in each direction."""
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """By which share of it, at most, a view is larger or smaller: 0.1."""


class Data(_Section):
    """What is learned from, chosen on and measured on."""

    source: str
    """`digits`, `idx`, `table`, `trec`, `characters`, `image_folder`, `hf:NAME`, or the user's own
    `package.module:function`."""
    path: str | None = None
    """File or folder: absolute, or below the working folder or $LIMBECK_DATA."""
    options: dict[str, Any] = {}
    """The source's own options: column names, sequence length, ..."""
    labelled: Annotated[float, Field(gt=0, le=1)] | Count = 1.0
    """How many training samples show their label: a fraction (0..1], or a count of 2 or more.
    1.0 means all; 1, without a point, is refused, for it would be one sample."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of what is not test data that models are chosen on."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction that is kept for the end, where the source has no test data of its own."""
    limit: Count | None = None
    """Learn from this many training samples only, for a quick try."""
    resident: bool = False
    """Whether the training inputs lie on the GPU, where there is one, and their views are made
    there."""
    augment: Augment = Augment()
    """How views are made."""
    metric: str | None = None
    """`accuracy`, `cross_entropy`, `exact_match` or `rmse`; left out, the first that fits."""
    seed: Seed = 0
    """Of the splits and of the choice of labelled samples: 0..2^32 - 1."""


class Train(_Section):
    """How a model is trained. One step is one batch; nothing here depends on who teaches."""

    epochs: Count = 20
    """Passes over the training samples."""
    batch_size: Count = 128
    """Samples in one optimiser step, over all processes and micro-batches together."""
    accumulate: Count = 1
    """Micro-batches that each batch is cut in, to save memory; the result stays the same."""
    optimizer: str = "AdamW"
    """A class of torch.optim."""
    optimizer_options: dict[str, Any] = {}
    """Its options other than the learning rate: weight_decay, momentum, ..."""
    learning_rate: Positive = 1e-3
    """Its largest value."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """How the learning rate falls: along a half cosine to 0; at `milestones`; or not."""
    milestones: list[Fraction] = [0.5, 0.75]
    """For `step`: the fractions of all steps at which the learning rate falls to a tenth."""
    warmup: Fraction = 0.0
    """Fraction of all steps over which the learning rate rises from 0."""
    clip: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    max_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the weights into one unit of a linear layer; 0 leaves them as they are."""
    views: bool = False
    """True: each epoch sees a new view of every sample. Only where labels alone teach; from
    stored targets, epoch e sees view e modulo `targets.views`."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of the forward pass; losses are float32 always."""
    channels_last: bool = False
    """Whether the weights of convolutions lie in memory with their channels last: faster on a GPU,
    above all with mixed precision; the same up to rounding, but for the dropout of maps, which is
    drawn in the order of memory."""
    cuda_graphs: bool = False
    """Whether the passes over batches of `batch_size` are recorded on a CUDA device and replayed: a
    small model no longer waits for the host. Elsewhere it changes nothing. The model must be one
    that does the same work for every batch."""
    keep: Literal["last", "best"] = "last"
    """Which weights stay: the last ones, or those of the epoch best on the validation data."""
    validate_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between two measurements on the validation data; 0 measures never."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read samples ahead, for data that is read from disk."""
    log: Literal["none", "tensorboard"] = "none"
    """`tensorboard` writes logs below the run's folder (extra `tensorboard`)."""

    @model_validator(mode="after")
    def _options_agree(self) -> "Train":
        if self.keep == "best" and self.validate_every == 0:
            raise ValueError('keep = "best" needs validate_every of 1 or more')
        if "lr" in self.optimizer_options:
            raise ValueError("the learning rate is set by learning_rate, not optimizer_options.lr")
        if self.batch_size < self.accumulate:
            raise ValueError("accumulate must not be larger than batch_size")
        if self.cuda_graphs and self.accumulate > 1:
            raise ValueError("cuda_graphs overwrites the gradients that accumulate adds up")
        return self


class Teacher(_Section):
    """Who teaches: trained by the recipe, or loaded."""

    model: str
    """`mlp`, `cnn`, `cifar_resnet`, `wide_resnet`, `soft_tree`, `transformers:CLASS` or the user's
    own `package.module:function`."""
    options: dict[str, Any] = {}
    """The model's own options."""
    outputs: Literal["logits", "probabilities"] = "logits"
    """What the model gives: logits, or non-negative scores (compress = "normalised")."""
    weights: str | None = None
    """A safetensors file to load; without one the teacher is trained."""
    labels: Literal["all", "labelled"] = "all"
    """Whose labels it is trained on: all, as a model trained elsewhere; or the labelled ones."""
    seed: Seed = 0
    """Of its initial weights and batches: 0..2^32 - 1."""
    train: Train = Train()
    """How it is trained; without effect where `weights` are loaded."""


class Ensemble(_Section):
    """How several teachers teach as one: the weighted mean of their probabilities."""

    how: str = "mean"
    """`mean`; `confidence`: by the probability of a teacher's first choice; `most_confident`: it
    answers alone; `by_class`: by what each had right, on validation data, of the classes seen;
    `agreement`: at every step so that no teacher's loss rises, if that can be."""
    weights: dict[str, Positive] = {}
    """What a teacher's weight is multiplied by, above 0; 1 where it is left out."""


class Assistant(_Section):
    """Who learns from the teacher, or the assistant before, and then teaches who comes next."""

    model: str
    """As for the teacher."""
    options: dict[str, Any] = {}
    """The model's own options."""
    outputs: Literal["logits", "probabilities"] = "logits"
    """What the model gives."""
    seed: Seed = 0
    """Of its initial weights and batches: 0..2^32 - 1."""
    train: Train | None = None
    """How it is trained; left out, as the students are. What is left out within it has the default
    of `[train]`, not the students' value."""


class Targets(_Section):
    """How what the teacher says is compressed and stored."""

    compress: Literal["softmax", "normalised"] = "softmax"
    """`softmax` of logits at the temperature; or scores `normalised` to sum to 1. Numbers of a
    regression are kept as they are."""
    temperature: Positive = 4.0
    """T: the higher, the more the small probabilities show. 1 is what the teacher says."""
    codec: str = "dense16"
    """`dense32`, `dense16`; `sqrt4` to `sqrt12`, or `sqrt`, for few classes; `selected` and
    `principal` for more; `threshold` for vocabularies; `topk`; `real16`, `real8` for numbers; or
    `auto`: chosen by `budget` and `max_kl`, on some thousand rows."""
    codec_options: dict[str, Any] = {}
    """The codec's own options: `k` of topk, `tau` of threshold, `levels` and `cost` of selected,
    `step` of principal, ..."""
    budget: str | None = None
    """For `auto`: `16 B/row`, or `20 MB` for all rows."""
    max_kl: Positive | None = None
    """For `auto`: nats of KL divergence that a row may lose."""
    like: str | None = None
    """Another transfer set: its codec is taken, with all that it learned of its rows, so that the
    two can be merged."""
    views: Count = 1
    """Views of each sample that are stored; 1 is the sample as it came."""
    features: bool = False
    """For a feature method: whether what the teacher's taps give is stored too, a byte a number, in
    `features` in the run's folder; else the teacher itself is asked at every step."""
    folder: str | None = None
    """Where they are stored: a folder, or an fsspec URL such as `s3://bucket/folder`. Left out,
    `targets` in the run's folder."""

    @property
    def codec_words(self) -> dict[str, Any]:
        """Those of them that say which codec, as `capture` takes them."""
        return self.model_dump(include={"codec", "codec_options", "budget", "max_kl", "like"})


class Start(_Section):
    """What of the teacher a student begins with, instead of random weights."""

    how: str
    """`layers`: some layers of each stack, for a student that has fewer; `width`: the most active
    units of each layer, for a student of as many layers, each narrower."""
    control: bool = False
    """Whether the control begins with the same weights. If not, the verdict is about all that came
    from the teacher, weights and answers; if so, about what its answers were worth beyond them."""


class Student(_Section):
    """Who learns."""

    model: str
    """As for the teacher."""
    options: dict[str, Any] = {}
    """The model's own options."""
    outputs: Literal["logits", "probabilities"] = "logits"
    """What the model gives. Its logits are the logarithms of its probabilities."""
    start: Start | None = None
    """How the student begins; left out, with random weights."""


class Tap(_Section):
    """A module of every student, and the teacher's that a feature method compares it with."""

    student: str
    """Its path in the student: `features.3`, as `limbeck layers RECIPE` lists them."""
    teacher: str
    """Its path in the teacher."""


class Anneal(_Section):
    """What weights become over training, evenly from step to step; left out, they stay.

    Teacher annealing is `soft_weight = 0` and `hard_weight = 1`: in the end labels alone count.
    """

    soft_weight: Annotated[float, Field(ge=0)] | None = None
    """At the last step."""
    hard_weight: Annotated[float, Field(ge=0)] | None = None
    """At the last step."""


class Ema(_Section):
    """The exponential moving average of a student's own weights, from which it learns too.

    It is dropped at the end: the student is what is saved.
    """

    weight: Positive = 1.0
    """Weight of soft targets of the average, above 0."""
    decay: Fraction = 0.999
    """How much of the average is kept at a step, 0 to below 1; at 0 it is the student as it is. In
    the first steps less is, so that it begins as the plain mean."""
    ramp_up: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Part of training over which the weight rises to its full size, 0..1; at 0 it is full from the
    first step on."""


class Branches(_Section):
    """Branches of a student that learn beside it, and from its own last answer (self-distillation).

    Each is a small bottleneck and a classifier for each head, on what a module inside the student
    gives; their losses are summed, and they are dropped at the end.
    """

    taps: Annotated[list[str], Field(min_length=1)]
    """The student's modules that have a branch, by path, as `limbeck layers RECIPE` lists them."""
    hard_weight: Annotated[float, Field(ge=0)] = 0.7
    """Weight of the supervised loss of each branch, on labelled samples; at 0 none sees labels."""
    soft_weight: Annotated[float, Field(ge=0)] = 0.033
    """Weight of each branch's soft targets of the student's own last answer, which gets no
    gradient from it; at 0 none learns from that. They are times T^2, as all are here."""
    temperature: Positive = 3.0
    """T of these soft targets, above 0; 1 is what the student says."""
    feature_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the squared distance between each branch's features and the student's own deepest
    ones, which get no gradient from it; at 0 they are not compared."""
    features: str | None = None
    """The student's module that gives these deepest features, by path."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> "Branches":
        if not self.hard_weight + self.soft_weight + self.feature_weight > 0:
            raise ValueError(
                "hard_weight, soft_weight and feature_weight of branches are all 0: they learn "
                "nothing. Set one of them above 0"
            )
        if len(set(self.taps)) < len(self.taps):
            raise ValueError(f"taps of branches must be different modules, got {self.taps}")
        if (self.feature_weight > 0) != (self.features is not None):
            raise ValueError(
                "feature_weight of branches above 0 compares them with what the module at "
                f"`features` gives, got feature_weight = {self.feature_weight:g} and "
                + ("no features" if self.features is None else f'features = "{self.features}"')
                + ". Set both, or leave both out"
            )
        return self


class Distil(_Section):
    """By what objective the students learn: hard_weight x labels + soft_weight x teacher.

    And feature_weight x features, by a feature method.
    """

    method: str = "soft_targets"
    """The distillation method; `limbeck methods` lists them. Or a loss of your own,
    "package.module:function"."""
    options: dict[str, Any] = {}
    """The method's own options; `limbeck methods NAME` shows them."""
    temperature: Positive | None = None
    """T of the loss; left out, that of the targets."""
    hard_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the supervised loss on labelled samples."""
    soft_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the method's loss, as a rule towards the teacher; of a feature method, that of soft
    targets beside it."""
    mutual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of soft targets of the other students: several learn from each other at every step
    (deep mutual learning)."""
    ema: Ema | None = None
    """The student learns from a moving average of itself, too (mean teacher); left out, it does
    not."""
    branches: Branches | None = None
    """Branches inside the student learn with it, and from its last answer (be your own teacher);
    left out, there are none."""
    anneal: Anneal | None = None
    """What `hard_weight` and `soft_weight` become over training; left out, they stay."""
    balance: Count | None = None
    """Every so many steps each loss is measured by the norm of its gradient, and pulls on the
    student as its weight says from there on, whatever its size; left out, losses count as they
    are."""
    taps: list[Tap] = []
    """For a feature method: which modules are compared, `{ student = "PATH", teacher = "PATH" }`
    each."""
    feature_weight: Positive | None = None
    """For a feature method: weight of the loss of features; left out, the method's own."""
    progressive: Fraction = 0.0
    """For a feature method: share of training, 0 to below 1, over which its taps join, one after
    another in their order; at 0 all are there from the first step."""
    live: bool = False
    """True: ask the teacher again at every step instead of reading the transfer set."""
    mixup: bool = False
    """True, with `live`: teacher and student see samples that are mixed in pairs, in parts drawn
    evenly from 0..1 (function matching). For images and other numbers, without labels."""
    generations: Count = 1
    """How often the one student is distilled, each time anew from the one before (born-again): the
    last generation is the student, and 1 is the student alone."""


class Recipe(_Section):
    """A complete run."""

    name: str
    """What the run, and by default its folder, is called: letters, digits, `-`, `_` and `.`."""
    description: str = ""
    """One line for the list of recipes."""
    seeds: Count = 5
    """How many times student and control are trained: seeds 0, 1, ... One shows nothing."""
    data: Data
    teacher: Teacher | None = None
    """The one teacher; or else, by name, there are several."""
    teachers: dict[str, Teacher] = {}
    """Several, who teach as one. Each is asked once, and what it says is kept by itself."""
    ensemble: Ensemble = Ensemble()
    assistants: dict[str, Assistant] = {}
    """Who stands between teacher and students, in the order in which they are written: each learns
    from the one before."""
    targets: Targets = Targets()
    students: Annotated[dict[str, Student], Field(min_length=1)]
    distil: Distil = Distil()
    train: Train = Train()

    @field_validator("name")
    @classmethod
    def _name_can_name_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w-][\w.-]*", name):
            raise ValueError(
                'a name must be letters, digits, "-", "_" and "." (which may not be first), for '
                f"the run's folder is called by it, got {name!r}"
            )
        return name

    @field_validator("students", "assistants", "teachers")
    @classmethod
    def _names_can_name_files(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(
                    'a name must be letters, digits, "-" and "_", for its files are called by it, '
                    f"got {name!r}"
                )
        return named

    @model_validator(mode="after")
    def _someone_teaches(self) -> "Recipe":
        if self.teacher is None and not self.teachers:
            raise ValueError("teacher is missing")
        if self.teacher is not None and self.teachers:
            raise ValueError(
                f"there is one teacher, [teacher], or there are several, "
                f"{', '.join(f'[teachers.{name}]' for name in self.teachers)}: take one or the "
                "other out"
            )
        return self

    @property
    def all_teachers(self) -> dict[str, Teacher]:
        """Every teacher by what messages call it: the one, or those by name."""
        if self.teacher is not None:
            return {"teacher": self.teacher}
        return {f"teacher {name}": each for name, each in self.teachers.items()}

    @property
    def chain(self) -> dict[str, Assistant]:
        """Everyone between teacher and students, in order: assistants, then earlier generations."""
        student = next(iter(self.students.values()))
        earlier = {
            f"generation-{number}": Assistant(
                model=student.model,
                options=student.options,
                outputs=student.outputs,
                seed=GENERATION_SEED + number,
            )
            for number in range(1, self.distil.generations)
        }
        return self.assistants | earlier

    def first_seed(self, student: str, seed: int) -> int:
        """What the first weights of a student of this seed, and of its control, are drawn from.

        Students that teach each other begin each with its own: as twins they had nothing to say.
        """
        place = list(self.students).index(student)
        return seed + PEER_SEED * place if self.distil.mutual_weight > 0 else seed
