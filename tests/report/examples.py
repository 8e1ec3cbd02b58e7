"""Result files as real runs write them: helped, hurt, regression, language model, almost empty."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from limbeck.results import (
    Calibration,
    Curve,
    Details,
    Disagreement,
    Fidelity,
    Latency,
    Ledger,
    Measured,
    Metric,
    PerClass,
    Reliability,
    Report,
    Score,
    Stage,
    StudentResult,
    Targets,
    Tree,
    TreeLeaf,
    TreeNode,
    TreePath,
    TreeStep,
)
from limbeck.verdict import judge

ACCURACY = Metric(name="accuracy", higher_is_better=True)
CROSS_ENTROPY = Metric(name="cross_entropy", higher_is_better=False)
RMSE = Metric(name="rmse", higher_is_better=False)
HOSTILE = "<script>alert(1)</script>"

_MACHINE = {"system": "Linux", "processor": "AMD EPYC 9B14", "cores": 2, "memory_gib": 23.4}
_VERSIONS = {"python": "3.11.2", "limbeck": "0.1.0", "torch": "2.13.0", "numpy": "2.4.1"}


def helped_images() -> tuple[Report, Details]:
    """Digits with a tenth of the labels: three students, of which the first was helped."""
    teacher = measured([0.9722], 132_000, latency=(0.092, 1.61))
    students = {
        "small": student_result([0.862, 0.871, 0.855, 0.869, 0.858],
                                [0.931, 0.936, 0.924, 0.939, 0.928], 4_810, (0.031, 0.21)),
        "tiny": student_result([0.801, 0.815, 0.792, 0.809, 0.786],
                               [0.852, 0.877, 0.861, 0.849, 0.866], 1_202, (0.028, 0.12)),
        "wide": student_result([0.903, 0.911, 0.899, 0.907, 0.905],
                               [0.907, 0.904, 0.909, 0.901, 0.912], 26_122, (0.047, 0.63)),
    }  # fmt: skip
    report = _report(
        recipe=recipe("digits", students),
        metric=ACCURACY,
        teacher=teacher,
        students=students,
        targets=_targets(),
        break_even=148_200,
        teacher_validation=0.9791,
    )
    details = Details(
        curves=curves(ACCURACY, student="small"),
        reliability={
            "teacher": _bins(0.004),
            "control": _bins(0.14),
            "student": _bins(-0.07),
        },
        per_class=PerClass(
            classes=[str(digit) for digit in range(10)],
            rows=[36, 36, 35, 37, 36, 37, 36, 36, 35, 36],
            teacher=[1, 0.97, 1, 0.97, 0.98, 0.98, 1, 0.97, 0.91, 0.94],
            control=[0.96, 0.78, 0.88, 0.84, 0.92, 0.87, 0.95, 0.93, 0.66, 0.83],
            student=[0.99, 0.90, 0.96, 0.91, 0.95, 0.94, 0.97, 0.92, 0.83, 0.92],
        ),
        disagreements=_digit_disagreements(),
    )
    return report, details


def hurt() -> tuple[Report, Details]:
    """Every label and soft targets alone: worse than the control, and it says so."""
    students = {
        "small": student_result([0.958, 0.964, 0.961, 0.955, 0.963],
                                [0.932, 0.934, 0.927, 0.931, 0.936], 4_810, (0.031, 0.21)),
    }  # fmt: skip
    report = _report(
        recipe=recipe("digits-hurt", students),
        metric=ACCURACY,
        teacher=measured([0.9622], 132_000, latency=(0.092, 1.61)),
        students=students,
        targets=_targets(),
        break_even=148_200,
        warnings=["the teacher (96.2 %) is hardly better than the control (96.0 %)."],
    )
    return report, Details(curves=curves(ACCURACY, student="small"))


def all_equal() -> tuple[Report, Details]:
    """Everyone guesses, and is right half of the time at every epoch."""
    students = {"small": student_result([0.5, 0.5], [0.5, 0.5], 4_810, (0.031, 0.21))}
    report = _report(
        recipe=recipe("guesses", students),
        metric=ACCURACY,
        teacher=measured([0.5], 132_000, latency=(0.092, 1.61)),
        students=students,
        targets=_targets(),
        break_even=148_200,
    )
    guesses = [
        curve.model_copy(update={"validation": [0.5] * len(curve.epochs)})
        for curve in curves(ACCURACY, student="small")
    ]
    return report, Details(curves=guesses)


def soft_tree(classes: list[str] | None = None) -> tuple[Report, Details]:
    """Digits, learned by a tree of five decisions, of which four rows are drawn."""
    report, details = helped_images()
    return report, details.model_copy(update={"tree": tree(classes)})


def tree(classes: list[str] | None = None) -> Tree:
    """A tree with smooth filters; a way along its right-hand side, and one along its left."""
    draw = np.random.default_rng(1)
    classes = classes or [str(digit) for digit in range(10)]

    def filter_of_waves() -> str:
        x, y = np.meshgrid(np.linspace(-1, 1, 28), np.linspace(-1, 1, 28))
        a, b, shift = draw.normal(size=3) * 3
        wave = np.sin(a * x + b * y + shift) * np.exp(-1.5 * (x**2 + y**2))
        pixels = np.round(127 * wave / abs(wave).max()).astype(np.int8)
        return base64.b64encode(pixels.tobytes()).decode()

    nodes, reached = [], [1.0]
    for number in range(15):
        right = float(draw.uniform(0.2, 0.8))
        nodes.append(TreeNode(filter=filter_of_waves(), reached=reached[number], right=right))
        reached += [reached[number] * (1 - right), reached[number] * right]
    leaves = [
        TreeLeaf(reached=share, probabilities=draw.dirichlet([0.25] * len(classes)).tolist())
        for share in reached[15:]
    ]
    images = [case.image_png for case in _digit_disagreements()]
    paths = [
        TreePath(
            index=index,
            label=classes[index],
            steps=[
                TreeStep(filter=filter_of_waves(), to_right=to_right, probability=sure)
                for sure in (0.99, 0.9, 0.62, 0.48, 0.97)
            ],
            leaf=leaves[index],
            image_png=images[index],
        )
        for index, to_right in ((0, True), (1, False))
    ]
    return Tree(
        depth=5, classes=classes, filter_shape=(28, 28), nodes=nodes, leaves=leaves, paths=paths
    )


def regression() -> tuple[Report, Details]:
    """Numbers: no classes, no probabilities, and a lower score is better; nothing was shown."""
    students = {
        "small": student_result([0.5521, 0.5498, 0.5553], [0.5476, 0.5530, 0.5502], 1_153,
                                (0.022, 0.09), classes=False),
    }  # fmt: skip
    report = _report(
        recipe=recipe("housing", students),
        metric=RMSE,
        teacher=measured([0.4907], 90_000, latency=(0.061, 0.88)),
        students=students,
        targets=_targets(
            compress="", codec="dense32", bytes_per_row=4.2, dense=4.0, kl=None, agreement=None
        ),
        break_even=None,
    )
    return report, Details(curves=curves(RMSE, student="small"))


def language_model() -> tuple[Report, Details]:
    """A character model: rows per token, text where they differ, lower is better."""
    students = {
        "small": student_result([1.7312, 1.7288, 1.7351], [1.6904, 1.6921, 1.6877], 412_000,
                                (1.9, 141.0)),
    }  # fmt: skip
    report = _report(
        recipe=recipe("shakespeare", students),
        metric=CROSS_ENTROPY,
        teacher=measured([1.4809], 10_700_000, latency=(9.4, 1630.0)),
        students=students,
        targets=_targets(
            codec="topk", bytes_per_row=42.3, dense=260.0, kl=0.0121, agreement=0.9997, biased=True
        ),
        break_even=9_310_000,
    )
    lines = [
        ("First Citizen:\nBefore we proceed any further, hear m", "e", "e", "y"),
        ("Speak, speak.\n\nFirst Citizen:\nYou are all reso", "l", "l", "n"),
        ("We know't, we know't.\n\nFirst Citizen:\nLet us k", "i", "n", "e"),
    ]
    details = Details(
        curves=curves(CROSS_ENTROPY, student="small"),
        disagreements=[
            Disagreement(
                index=i, label=label, teacher=teacher, student=student, text=words,
                teacher_confidence=0.71, student_confidence=0.34,
            )
            for i, (words, label, teacher, student) in enumerate(lines)
        ],
    )  # fmt: skip
    return report, details


def bare() -> tuple[Report, Details]:
    """One seed, a live endpoint as teacher, nothing else measured: most is None."""
    teacher = Measured(score=_score([0.9]), parameters=None, bytes=None, flops_per_example=None,
                       latency_ms=None)  # fmt: skip
    small = teacher.model_copy(update={"score": _score([0.8])})
    fidelity = Fidelity(agreement=None, agreement_when_teacher_wrong=None, kl=None, ece=None)
    report = Report(
        limbeck="0.1.0",
        recipe={"name": "bare"},
        machine={},
        versions={},
        metric=Metric(name="exact_match", higher_is_better=True),
        data={"train": 10, "validation": 5, "test": 5},
        models={"teacher": teacher, "control": small, "student": small},
        fidelity=fidelity,
        verdict=judge([0.8], [0.8], 0.9, ACCURACY),
        targets=None,
        ledger=Ledger(stages=[], break_even_predictions=None),
    )
    return report, Details()


def hostile() -> tuple[Report, Details]:
    """Names from data that would break out of a page that does not escape them."""
    report, details = helped_images()
    students = {f"{HOSTILE}{name}": pair for name, pair in report.students.items()}
    bad = "</script><img src=x onerror=alert(2)> \"quotes\" & 'more' {{ 7 * 7 }}"
    report = report.model_copy(
        update={
            "recipe": recipe(bad, students),
            "students": students,
            "warnings": [HOSTILE],
            "machine": {HOSTILE: HOSTILE},
        }
    )
    curves_ = [
        curve.model_copy(update={"student": f"{HOSTILE}small"}) if curve.student else curve
        for curve in details.curves
    ]
    assert details.per_class is not None
    per_class = details.per_class.model_copy(update={"classes": [HOSTILE, bad] * 5})
    case = details.disagreements[0].model_copy(update={"label": HOSTILE, "text": bad})
    details = details.model_copy(
        update={"curves": curves_, "per_class": per_class, "disagreements": [case]}
    )
    return report, details


def recipe(name: str, students: dict[str, StudentResult]) -> dict[str, Any]:
    """A recipe as the result file keeps it: nested, with None for what was not said."""
    small = {"model": "mlp", "options": {"hidden": [64, 16]}, "outputs": "logits"}
    return {
        "name": name,
        "description": "scikit-learn's digits, a tenth of the labels",
        "seeds": 5,
        "data": {"source": "digits", "path": None, "options": {}, "labelled": 0.1, "seed": 0},
        "teacher": {"model": "mlp", "options": {"hidden": [256, 256], "dropout": 0.2}},
        "targets": {"compress": "softmax", "temperature": 4.0, "codec": "dense16", "views": 4},
        "students": dict.fromkeys(students, small),
        "distil": {"method": "soft_targets", "temperature": None, "soft_weight": 1.0},
        "train": {"epochs": 40, "batch_size": 128, "optimizer": "AdamW", "learning_rate": 1e-3},
    }


def measured(scores: list[float], parameters: int, *, latency: tuple[float, float]) -> Measured:
    """A model of so many float32 parameters."""
    return Measured(
        score=_score(scores),
        parameters=parameters,
        bytes=4 * parameters + 480,
        flops_per_example=2 * parameters,
        latency_ms=Latency(batch_1=latency[0], batch_256=latency[1]),
    )


def student_result(
    control: list[float],
    student: list[float],
    parameters: int,
    latency: tuple[float, float],
    *,
    classes: bool = True,
) -> StudentResult:
    """A student beside its control; `_report` fills in the verdict, which needs the metric."""
    fidelity = Fidelity(
        agreement=0.934 if classes else None,
        agreement_when_teacher_wrong=0.402 if classes else None,
        kl=0.1873 if classes else None,
        ece=Calibration(teacher=0.0121, control=0.0942, student=0.0561) if classes else None,
        control_agreement=0.861 if classes else None,
    )
    return StudentResult(
        control=measured(control, parameters, latency=latency),
        student=measured(student, parameters, latency=latency),
        fidelity=fidelity,
        verdict=judge(student, control, 1.0, ACCURACY),
    )


def curves(metric: Metric, *, student: str) -> list[Curve]:
    """One teacher run, and three seeds of control and student."""
    draw = np.random.default_rng(0)
    epochs = list(range(1, 41))
    ends = {"teacher": (0.975, 0.05), "control": (0.863, 0.02), "student": (0.93, 0.21)}
    found = []
    for role, (top, floor) in ends.items():
        for seed in range(1 if role == "teacher" else 3):
            progress = 1 - np.exp(-np.array(epochs) / 7)
            wobble = draw.normal(0, 0.008, size=(2, len(epochs)))
            high = top * progress + 2 * wobble[0]
            score = high if metric.higher_is_better else 4.2 - 2.6 * high
            loss = floor + 0.1 + 2.1 * (1 - progress) + abs(wobble[1])
            found.append(
                Curve(
                    role=role,  # type: ignore[arg-type]
                    student="" if role == "teacher" else student,
                    seed=seed,
                    epochs=epochs,
                    loss=loss.tolist(),
                    validation=[
                        None if e % 2 else float(v) for e, v in zip(epochs, score, strict=True)
                    ],
                )
            )
    return found


def _report(
    *,
    recipe: dict[str, Any],
    metric: Metric,
    teacher: Measured,
    students: dict[str, StudentResult],
    targets: Targets,
    break_even: int | None,
    warnings: list[str] | None = None,
    teacher_validation: float | None = None,
) -> Report:
    for name, pair in students.items():
        scores = pair.student.score.values, pair.control.score.values
        verdict = judge(*scores, teacher.score.mean, metric)
        students[name] = pair.model_copy(update={"verdict": verdict})
    first = next(iter(students.values()))
    return Report(
        limbeck="0.1.0",
        recipe=recipe,
        machine=_MACHINE,
        versions=_VERSIONS,
        metric=metric,
        data={"train": 1077, "labelled": 108, "validation": 180, "test": 360},
        models={"teacher": teacher, "control": first.control, "student": first.student},
        fidelity=first.fidelity,
        verdict=first.verdict,
        targets=targets,
        ledger=Ledger(
            stages=[
                Stage(name="teach", seconds=8.31, flops=34_000_000_000),
                Stage(name="targets", seconds=0.42, flops=284_000_000),
                Stage(name="control", seconds=9.8, flops=6_200_000_000),
                Stage(name="distil", seconds=10.4, flops=6_200_000_000),
                Stage(name="evaluate", seconds=3.1, flops=None),
            ],
            break_even_predictions=break_even,
        ),
        students=students,
        teacher_validation=teacher_validation,
        warnings=warnings or [],
    )


def _targets(
    *,
    codec: str = "dense16",
    compress: str = "softmax",
    bytes_per_row: float = 21.7,
    dense: float = 40.0,
    kl: float | None = 3.1e-7,
    agreement: float | None = 1.0,
    biased: bool = False,
) -> Targets:
    return Targets(
        codec=codec,
        rows=4308,
        bytes=round(4308 * bytes_per_row),
        bytes_per_row=bytes_per_row,
        dense_bytes_per_row=dense,
        kl_to_teacher=kl,
        agreement_with_teacher=agreement,
        temperature=4.0,
        compress=compress,
        biased=biased,
        views=4,
    )


def _score(values: list[float]) -> Score:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Score(mean=float(np.mean(values)), std=std, values=values)


def _bins(overconfidence: float) -> Reliability:
    """15 bins, the lowest empty, most rows in the highest."""
    confidence = (np.arange(15) + 0.5) / 15
    count = np.where(confidence < 0.2, 0, np.round(6 + 240 * confidence**8)).astype(int)
    accuracy = np.clip(confidence - overconfidence * 4 * confidence * (1 - confidence), 0, 1)
    return Reliability(
        confidence=confidence.tolist(), accuracy=accuracy.tolist(), count=count.tolist()
    )


def _digit_disagreements() -> list[Disagreement]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    answers = [(5, 5, 9), (8, 8, 1), (8, 8, 3), (9, 9, 7), (1, 1, 8), (4, 9, 4), (3, 3, 5)]
    found = []
    for place, (label, teacher, student) in enumerate(answers):
        index = int(np.flatnonzero(digits.target == label)[place + 3])
        grey = (digits.images[index] * (255 / 16)).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(grey).save(file, format="PNG")
        found.append(
            Disagreement(
                index=index,
                label=str(label),
                teacher=str(teacher),
                student=str(student),
                teacher_confidence=0.97 - 0.06 * place,
                student_confidence=0.48 + 0.05 * place,
                image_png=base64.b64encode(file.getvalue()).decode(),
            )
        )
    return found
