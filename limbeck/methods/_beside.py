"""What stands beside a method in a recipe, with a card each: who else teaches, and when, and how.

A new one is a key of a recipe, and an entry of `BESIDE`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from limbeck.methods._method import Paper, told_hurt


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What one wants to know before one sets a key that is no method."""

    keys: tuple[str, ...]
    """Those of a recipe; NAME stands for a name of one's own."""
    called: tuple[str, ...] = ()
    """What else it is called, in papers."""
    line: str
    """What it is."""
    paper: Paper
    """Who found it."""
    formula: str
    """What is computed, in plain characters."""
    when: str
    """When to use it, and when not."""
    refuses: str
    """What it does not go with, and what it needs."""
    page: str
    """Where docs/ says more."""
    hurt: float | None = None
    """Points by which a student lost to its control, where that was no chance: see `told_hurt`."""
    tried: str = ""
    """How it was set for that."""

    @property
    def facts(self) -> dict[str, str]:
        """The card, for people: each fact by what it says."""
        told = {
            "in a recipe": ", ".join(self.keys),
            "also called": ", ".join(self.called),
            "paper": self.paper.told,
            "formula": self.formula,
            "when": self.when,
            "refuses": self.refuses,
            "hurt": told_hurt(self.hurt, f"{self.tried}, a student of 3,600 weights"),
            "more": f"docs/{self.page}",
        }
        return {what: text for what, text in told.items() if text}


BESIDE: dict[str, Beside] = {
    "branches": Beside(
        keys=("distil.branches",),
        called=("byot", "be_your_own_teacher", "self_distillation"),
        line="Branches inside a student learn from its own last answer.",
        paper=Paper(authors="Zhang et al.", year=2019, link="https://arxiv.org/abs/1905.08094"),
        formula=(
            "sum over branches of hard_weight CE(label, branch) + soft_weight T^2 KL(last answer "
            "|| branch) + feature_weight mean of (features - deepest features)^2"
        ),
        when=(
            "Labels are many, with a teacher or, at soft_weight = 0, without. Beside a good "
            "teacher of few labels it hurt."
        ),
        refuses="Assistants and generations; with mixup, labels of its own.",
        page="methods.md",
    ),
    "ema": Beside(
        keys=("distil.ema",),
        called=("mean_teacher",),
        line="A student learns from a moving average of its weights.",
        paper=Paper(
            authors="Tarvainen and Valpola", year=2017, link="https://arxiv.org/abs/1703.01780"
        ),
        formula=(
            "weight T^2 KL(average || student); after each step average = decay average + "
            "(1 - decay) weights"
        ),
        when="Few samples have a label, with a teacher or, at soft_weight = 0, without.",
        refuses="hard_weight = 0 and soft_weight = 0 together: one of them teaches the average.",
        page="methods.md",
    ),
    "mutual_weight": Beside(
        keys=("distil.mutual_weight",),
        called=("dml", "deep_mutual_learning"),
        line="Several students learn from each other.",
        paper=Paper(authors="Zhang et al.", year=2018, link="https://arxiv.org/abs/1706.00384"),
        formula=(
            "mutual_weight mean over the others of T^2 KL(softmax(other / T) || softmax(own / T))"
        ),
        when="There are several students, twins too, with a teacher or, at soft_weight = 0, none.",
        refuses="A single student, two that begin with the same weights, and generations.",
        page="methods.md",
    ),
    "generations": Beside(
        keys=("distil.generations",),
        called=("born_again", "ban"),
        line="A student is distilled again and again, from itself.",
        paper=Paper(
            authors="Furlanello et al.", year=2018, link="https://arxiv.org/abs/1805.04770"
        ),
        formula="generation k learns by the method from k - 1, the first from the teacher",
        when="A student is as large as its teacher, or training costs little.",
        refuses="Several students, start, taps and branches.",
        hurt=0.7,
        tried="three generations of soft targets",
        page="teachers.md",
    ),
    "assistants": Beside(
        keys=("assistants.NAME",),
        called=("teacher_assistants", "takd"),
        line="Models of sizes between teach one after another.",
        paper=Paper(authors="Mirzadeh et al.", year=2020, link="https://arxiv.org/abs/1902.03393"),
        formula="each assistant learns by the method from the one before, students from the last",
        when="Teacher and student are far apart in size.",
        refuses="Taps and branches.",
        page="teachers.md",
    ),
    "teachers": Beside(
        keys=("teachers.NAME", "ensemble"),
        called=("ensemble", "several_teachers", "ae_kd"),
        line="Several teachers, each asked once, teach as one.",
        paper=Paper(
            authors="Du et al.",
            year=2020,
            link=(
                "https://proceedings.neurips.cc/paper/2020/hash/"
                "91c77393975889bd08f301c9e13a44b7-Abstract.html"
            ),
        ),
        formula=(
            "sum over teachers of w_i softmax(teacher_i / T), w by ensemble.how: mean, confidence, "
            "most_confident, by_class, or agreement, which is the paper's"
        ),
        when="There are several, and their mean is better than each.",
        refuses=(
            "Live, taps, targets.folder, and start without an assistant; all but mean and "
            "agreement are for one head of classes."
        ),
        page="teachers.md",
    ),
    "mixup": Beside(
        keys=("distil.mixup",),
        called=("function_matching", "patient_teacher"),
        line="Teacher and students see the same mixed samples.",
        paper=Paper(authors="Beyer et al.", year=2022, link="https://arxiv.org/abs/2106.05237"),
        formula="loss(student(x), teacher(x)), x = a x_1 + (1 - a) x_2, a drawn from 0..1",
        when="Samples are few, training may be very long. The recipe digits-matching has it.",
        refuses="Stored rows (it needs live), labels, methods that need these, taps and texts.",
        hurt=1.4,
        tried="twelve epochs, where its paper has hundreds, by controls of the same new views",
        page="teachers.md",
    ),
    "anneal": Beside(
        keys=("distil.anneal",),
        called=("teacher_annealing",),
        line="The weights of teacher and labels change over training.",
        paper=Paper(authors="Clark et al.", year=2019, link="https://arxiv.org/abs/1907.04829"),
        formula="weight = (1 - t) first + t last, t from 0 at the first step to 1 at the last",
        when="A student is to end with labels alone, and may become better than its teacher.",
        refuses="Nothing. It moves hard_weight and soft_weight, and no other weight.",
        page="methods.md",
    ),
    "balance": Beside(
        keys=("distil.balance",),
        called=("gradnorm",),
        line="Each loss pulls on the student as its weight says.",
        paper=Paper(authors="Chen et al.", year=2018, link="https://arxiv.org/abs/1711.02257"),
        formula="weight_i mean pull / |gradient_i|, measured every balance steps (alpha = 0)",
        when="Losses are of very different sizes, as of features, and no weights were searched.",
        refuses="Nothing. Each measurement costs a backward pass of each loss.",
        page="methods.md",
    ),
    "progressive": Beside(
        keys=("distil.progressive",),
        called=("progressive_blockwise",),
        line="The taps of a feature method join one after another.",
        paper=Paper(
            authors="Wang et al.", year=2018, link="https://www.ijcai.org/proceedings/2018/384"
        ),
        formula="tap i of n counts from progressive (i - 1) / (n - 1) of training on",
        when="Taps are several, and what lies deeper is made of what is learned before.",
        refuses="Methods of rows, and those of features that compare all taps together.",
        hurt=3.4,
        tried="over half of training, with `at`, which alone hurt by 5.6",
        page="methods.md",
    ),
    "start": Beside(
        keys=("students.NAME.start",),
        called=("warm_start", "layer_drop", "width_pruning"),
        line="A student begins with layers or units of its teacher.",
        paper=Paper(authors="Sanh et al.", year=2019, link="https://arxiv.org/abs/1910.01108"),
        formula=(
            'how = "layers": number round(i (n - 1) / (m - 1)) of n; how = "width": the most '
            "active units of each (Minitron, https://arxiv.org/abs/2407.14679)"
        ),
        when="The student is its teacher, with fewer layers or narrower ones.",
        refuses="Generations, several teachers without an assistant, models it would cut wrongly.",
        page="teachers.md",
    ),
}
"""By the word that is set."""


def find_beside(name: str) -> Beside | None:
    """What has that name, or is called so elsewhere; None if nothing is."""
    names = {known: (*each.called, *each.keys) for known, each in BESIDE.items()}
    found = named(name, names)
    return None if found is None else BESIDE[found]


def named(word: str, others: Mapping[str, Iterable[str]]) -> str | None:
    """The name that a word is, or one of whose other names it is, in whatever spelling."""
    wanted = _spelled(word)
    return next(
        (name for name, also in others.items() if wanted in map(_spelled, (name, *also))), None
    )


def _spelled(word: str) -> str:
    return word.lower().replace("-", "_")
