"""The result files of a run: `report.json`, format 1, and `details.json`, what its page draws.

Scores are in the metric's own unit; accuracy is 0..1. What does not apply to a task is None, never
a made-up number.
"""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limbeck._errors import DataError
from limbeck._files import parse_json, reading_errors, write_json
from limbeck._lookup import first_line

FORMAT: Final = 1
Role = Literal["teacher", "control", "student"]
Record = TypeVar("Record", bound=BaseModel)


class _Record(BaseModel):
    """A part of a result file: frozen, with no field that is not declared here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Metric(_Record):
    """What the scores are."""

    name: str
    higher_is_better: bool


class Score(_Record):
    """One score per seed. `std` is the sample standard deviation, None below two seeds."""

    mean: float
    std: float | None
    values: list[float]


class Latency(_Record):
    """Median milliseconds of one forward pass, on the machine that the report names."""

    batch_1: float
    batch_256: float


class Measured(_Record):
    """One model as it was measured on the test data."""

    score: Score
    parameters: int | None
    bytes: int | None
    flops_per_example: int | None
    latency_ms: Latency | None


class Calibration(_Record):
    """Expected calibration error, 15 bins, mean over seeds."""

    teacher: float
    control: float
    student: float


class Fidelity(_Record):
    """How near the student is to the teacher on the test data, mean over seeds."""

    agreement: float | None
    """Fraction of rows whose most probable class is the teacher's."""
    agreement_when_teacher_wrong: float | None
    """The same over the rows where the teacher is wrong; None if it never is."""
    kl: float | None
    """Mean KL(teacher || student) at temperature 1, in nats per row."""
    ece: Calibration | None
    control_agreement: float | None = None
    """The control's agreement with the teacher, to compare with."""


class Verdict(_Record):
    """Did the teaching help: the paired difference student - control over seeds."""

    outcome: Literal["helped", "hurt", "not shown"]
    gain: float
    """Mean difference, in the metric's unit, positive when the student is better."""
    ci95: tuple[float, float] | None
    """Its 95 % paired t-interval over seeds; None with one, or with two of equal gains."""
    gap_closed: float | None
    """gain / (teacher - control), None where the teacher is not better than the control."""
    seeds: int
    sentence: str


class Targets(_Record):
    """How the teacher's answers were stored, and how faithful that is.

    Of several teachers, all their rows and bytes, and the least faithful.
    """

    codec: str
    rows: int
    bytes: int
    bytes_per_row: float
    dense_bytes_per_row: float
    """What float32 values for every class, or number, would take."""
    kl_to_teacher: float | None
    """Mean KL(live teacher || stored row) at the stored temperature, in nats."""
    agreement_with_teacher: float | None
    temperature: float = 1.0
    compress: str = ""
    """Empty where numbers alone are kept, as they are."""
    biased: bool = False
    views: int = 1
    feature_bytes: int = 0
    """Of what modules inside the teacher gave, stored beside that; 0 if it is not."""


class Stage(_Record):
    """What one stage cost."""

    name: str
    seconds: float
    flops: int | None


class Ledger(_Record):
    """What the run cost, and when the student has paid for itself."""

    stages: list[Stage]
    break_even_predictions: int | None
    """After how many predictions, one at a time, the student has saved the seconds that storing
    the targets and distilling it took; None if it is not faster than the teacher."""


class StudentResult(_Record):
    """One named student of the recipe beside its control."""

    control: Measured
    student: Measured
    fidelity: Fidelity
    verdict: Verdict
    begins: str = ""
    """What of its teacher it began with; "" for random weights, the same as its control's."""
    control_begins: str = ""
    """The same of the control."""


class Report(_Record):
    """`report.json`. The first named student is the one in `models`, `fidelity`, `verdict`."""

    format: Literal[1] = FORMAT
    limbeck: str
    recipe: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    metric: Metric
    data: dict[str, int]
    """Samples in `train`, `validation` and `test`, and in `labelled`."""
    models: dict[Role, Measured]
    fidelity: Fidelity
    verdict: Verdict
    targets: Targets | None
    """None where a live teacher was asked for."""
    ledger: Ledger
    students: dict[str, StudentResult] = Field(default_factory=dict)
    """Every named student; the first one again too."""
    teachers: dict[str, Measured] = Field(default_factory=dict)
    """Each of several teachers; none where there is one. In `models` they are together."""
    assistants: dict[str, Measured] = Field(default_factory=dict)
    """Who stood between teacher and students, in order."""
    teacher_validation: float | None = None
    """The teacher's validation score, measured before it taught."""
    warnings: list[str] = Field(default_factory=list)


class Curve(_Record):
    """One training run, epoch by epoch."""

    role: Role
    student: str
    """The student's name; "" for the teacher."""
    seed: int
    epochs: list[int]
    loss: list[float]
    """Mean training loss of each epoch."""
    validation: list[float | None]
    """Validation score after each epoch; None where it was not measured."""


class Reliability(_Record):
    """Confidence against accuracy, by bin of confidence."""

    confidence: list[float]
    accuracy: list[float]
    count: list[int]


class PerClass(_Record):
    """Accuracy on the test rows of each class, mean over seeds; None for a class without rows."""

    classes: list[str]
    rows: list[int]
    teacher: list[float | None]
    control: list[float | None]
    student: list[float | None]


class Disagreement(_Record):
    """A test sample on which student and teacher differ."""

    index: int
    label: str
    teacher: str
    student: str
    teacher_confidence: float
    student_confidence: float
    image_png: str | None = None
    """The image as base64 of a PNG file, for images."""
    text: str | None = None
    """The text, for texts."""


class TreeNode(_Record):
    """A decision of a soft decision tree, and how it falls on the test data."""

    filter: str
    """Base64 of its weights, row by row, a signed byte each: the largest in size is 127."""
    reached: float
    """Share of the test data that comes to it, 0..1."""
    right: float
    """Share of that which goes right from there, 0..1."""


class TreeLeaf(_Record):
    """A leaf; or all leaves below a node that is not drawn."""

    reached: float
    """Share of the test data that comes to it, 0..1."""
    probabilities: list[float]
    """Of each class; of several leaves their mean, by `reached`."""


class TreeStep(_Record):
    """A decision about one sample."""

    filter: str
    """As of a `TreeNode`."""
    to_right: bool
    """Which way it goes on to the leaf."""
    probability: float
    """Of that side, 0..1."""


class TreePath(_Record):
    """How a test sample comes to the leaf that it most probably reaches."""

    index: int
    label: str
    steps: list[TreeStep]
    """From the root on."""
    leaf: TreeLeaf
    """With the probability of the whole way."""
    image_png: str | None = None
    """The image as base64 of a PNG file, for images."""


class Tree(_Record):
    """A student that is a soft decision tree: its upper rows, and how some samples are decided."""

    depth: int
    """Decisions on the way to a leaf."""
    classes: list[str]
    filter_shape: tuple[int, int]
    """Height and width of a filter."""
    nodes: list[TreeNode]
    """Row by row from the root."""
    leaves: list[TreeLeaf]
    """From left to right, below the last row of `nodes`."""
    paths: list[TreePath]


class Details(_Record):
    """`details.json`: what the page draws beside `report.json`, for the first named student."""

    format: Literal[1] = FORMAT
    curves: list[Curve] = Field(default_factory=list)
    reliability: dict[Role, Reliability] = Field(default_factory=dict)
    per_class: PerClass | None = None
    disagreements: list[Disagreement] = Field(default_factory=list)
    tree: Tree | None = None
    """Of the first seed, if the student is a soft decision tree."""


def write_results(folder: Path, report: Report, details: Details) -> None:
    """Write both files, `report.json` last, each whole or not at all."""
    write_json(folder / "details.json", details.model_dump(mode="json"))
    write_json(folder / "report.json", report.model_dump(mode="json"))


def read_results(folder: Path) -> tuple[Report, Details]:
    """Read both files.

    Raises:
        DataError: A file is missing, is not JSON, or does not say what it must.
        StorageError: A file cannot be read.
    """
    report = _read(folder / "report.json", Report)
    details = _read(folder / "details.json", Details)
    return report, details


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        with reading_errors(path):
            return kind.model_validate(parse_json(path.read_bytes().decode()))
    except NotADirectoryError:
        raise DataError(f"{path.parent} is a file. Name the folder of a run.") from None
    except FileNotFoundError:
        raise DataError(
            f"no result file {path}. Run `limbeck run RECIPE --out {path.parent}` first."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path} is no result file of format {FORMAT}: {where}: {first['msg']}. "
            "Run the recipe again."
        ) from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {first_line(error)}. Run the recipe again.") from None


def machine() -> dict[str, Any]:
    """The hardware that figures were measured on."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that figures depend on."""
    found = {"python": platform.python_version()}
    names = "limbeck torch accelerate numpy numba pyarrow transformers keras"
    for name in names.split():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
