"""A student learns from what is inside a teacher, in Python."""

import re
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from limbeck import Teacher, capture, capture_features, distil
from limbeck._errors import Interrupted, ModelError, OptionError, TargetsError
from limbeck.data import Views
from limbeck.losses.features import similarity_preserving
from limbeck.models import CNN
from limbeck.signals import Head
from limbeck.train._lane import Lane
from tests.api.problem import EXACT, IMAGES, Watched, by_hand, softened, split
from tests.methods.features import problem as features
from tests.train import problem
from tests.train.problem import INPUTS, LABELS, furthest, model, same_weights, settings

TAPS = [("1", "1")]
"""What the first ReLU gives, in both."""


@pytest.fixture
def taught(tmp_path):
    teacher = Teacher(model(seed=9), [Head(space="categorical", size=3)])
    return teacher, capture(teacher, (INPUTS, LABELS), tmp_path / "targets", **EXACT)


def test_a_student_becomes_what_a_loop_by_hand_makes(taught):
    teacher, targets = taught
    samples, ours = Watched(INPUTS, {"label": LABELS}), model()
    options = {"method": "sp", "taps": TAPS, "teacher": teacher, "feature_weight": 5.0}
    history = distil(ours, samples, targets, settings(), **options)
    assert list(history.terms) == ["soft", "features"]

    def loss(student, index, view):
        said, theirs = student(INPUTS[index]), teacher.model(INPUTS[index])
        inside = [one[:2](INPUTS[index]) for one in (student, teacher.model)]
        features = similarity_preserving(*inside).mean()
        return softened(said, theirs, 2.0).mean() + 5.0 * features

    batches = samples.asked[1:]  # the first is looked at for shapes
    assert furthest(ours, by_hand(model(), batches, loss)) < 1e-5
    plain = model()
    distil(plain, samples, targets, settings())
    assert furthest(ours, plain) > 1e-3


def test_taps_join_one_after_another(taught):
    """Of three taps the first is there at once, the next from .3 on, the last from .6 on."""
    teacher, targets = taught
    samples, ours = Watched(INPUTS, {"label": LABELS}), model()
    options = {"method": "sp", "teacher": teacher, "feature_weight": 5.0, "progressive": 0.6}
    taps = [("0", "0"), ("1", "1"), ("3", "3")]
    history = distil(ours, samples, targets, settings(), taps=taps, **options)
    steps = count()

    def loss(student, index, view):
        done = next(steps) / 20  # three epochs of seven batches
        layers = [1, 2, 4][: 1 + (done >= 0.3) + (done >= 0.6)]
        said, theirs = student(INPUTS[index]), teacher.model(INPUTS[index])
        features = sum(
            similarity_preserving(*(one[:end](INPUTS[index]) for one in (student, teacher.model)))
            for end in layers
        )
        return softened(said, theirs, 2.0).mean() + 5.0 * features.mean()

    assert furthest(ours, by_hand(model(), samples.asked[1:], loss)) < 1e-5
    at_once = model()
    distil(at_once, samples, targets, settings(), taps=taps, **options | {"progressive": 0.0})
    assert furthest(ours, at_once) > 1e-3
    assert history.terms["features"][0] < history.terms["features"][2]


def test_what_has_not_joined_does_not_move(taught, monkeypatch):
    """Not by weight decay either: the last tap's projection begins where it was made."""
    teacher, targets = taught
    seen = []
    kept = Lane.end_step

    def end_step(lane):
        (each,) = lane.beside
        seen.append([part.clone() for part in each.parts[1].parameters()])
        kept(lane)

    monkeypatch.setattr(Lane, "end_step", end_step)
    options = {"method": "fitnets", "teacher": teacher, "progressive": 0.5, "feature_weight": 1.0}
    train = settings(optimizer="AdamW", optimizer_options={"weight_decay": 0.5})
    taps = [("0", "0"), ("1", "1")]
    distil(model(), (INPUTS, LABELS), targets, train, taps=taps, **options)
    begins = [all(map(torch.equal, now, seen[0])) for now in seen]
    assert begins == [True] * 11 + [False] * 10  # what is seen at step 10 is not moved by it yet


def test_a_torch_module_may_be_the_teacher(taught):
    teacher, targets = taught
    students = [model(), model()]
    for student, given in zip(students, (teacher, teacher.model), strict=True):
        options = {"method": "fitnets", "taps": TAPS, "teacher": given}
        distil(student, (INPUTS, LABELS), targets, settings(learning_rate=1e-3), **options)
    assert same_weights(*students)
    assert students[0].state_dict().keys() == model().state_dict().keys()


def test_it_goes_on_after_a_kill_unless_other_modules_are_looked_at(taught, tmp_path, monkeypatch):
    teacher, targets = taught
    stop_after = problem.stopper(monkeypatch)

    def learn(student, taps=TAPS, **options):
        how = {"method": "fitnets", "taps": taps, "teacher": teacher, "feature_weight": 1.0}
        distil(student, (INPUTS, LABELS), targets, settings(), **how, **options)
        return student

    stop_after(problem.NEVER)
    whole, other = learn(model()), learn(model(), taps=[("0", "0")])
    for taps, want in ((TAPS, whole), ([("0", "0")], other)):
        stop_after(9)
        with pytest.raises(Interrupted):
            learn(model(), checkpoint=tmp_path / "state")
        stop_after(problem.NEVER)
        assert same_weights(learn(model(), taps=taps, checkpoint=tmp_path / "state"), want)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, OptionError, "method fitnets looks inside the teacher: give either teacher="),
        ({"teacher": lambda x: x[:, :3]}, ModelError, "the teacher is no torch module"),
        ({"taps": []}, OptionError, "method fitnets takes one or more taps, got 0"),
        ({"feature_weight": 0.0}, OptionError, "feature_weight must be above 0"),
        ({"taps": TAPS, "progressive": 1.0}, OptionError, "progressive must be from 0 to below 1"),
        ({"taps": [("9", "1")]}, ModelError, "the student has no module '9' to tap"),
    ],
)
def test_what_is_missing_is_said(taught, options, error, said):
    teacher, targets = taught
    given = {"taps": TAPS} | options
    if "taps" in options:
        given["teacher"] = teacher
    with pytest.raises(error) as raised:
        distil(model(), (INPUTS, LABELS), targets, settings(), method="fitnets", **given)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("taps", "got"),
    [
        ("layers.0", "'layers.0'"),
        (["layers.0"], "'layers.0'"),
        (("0", "0"), "'0'"),
        ([("0", "0", "0")], "('0', '0', '0')"),
        ([("0", 0)], "('0', 0)"),
        ([{"student": "0", "teacher": "0"}], "{'student': '0', 'teacher': '0'}"),
    ],
)
def test_taps_that_are_no_pairs_of_paths_are_refused(taught, taps, got):
    teacher, targets = taught
    given = {"method": "fitnets", "taps": taps, "teacher": teacher}
    with pytest.raises(OptionError) as raised:
        distil(model(), (INPUTS, LABELS), targets, settings(), **given)
    assert str(raised.value) == (
        "taps must be pairs of paths, [(the student's, the teacher's), ...], got "
        f"{got}. Name a module of each of the two."
    )


def test_taps_that_are_compared_together_cannot_join_one_after_another(taught):
    _, targets = taught
    with pytest.raises(OptionError, match="this method compares all of its taps together"):
        features.term_of("semckd", features.student(), features.teacher(), progressive=0.5)
    with pytest.raises(OptionError, match=r"has no progressive\. Leave distil\.progressive out"):
        distil(model(), (INPUTS, LABELS), targets, settings(), progressive=0.5)


def test_stored_features_teach_what_the_teacher_itself_does(taught, tmp_path, monkeypatch):
    teacher, targets = taught
    samples = (INPUTS, LABELS)
    exact, rounded = (
        capture_features(teacher, samples, ["0", "1"], tmp_path / codec, codec=codec)
        for codec in ("dense32", "real8")
    )
    assert [head.name for head in rounded.heads] == ["tap:0 16", "tap:1 16"]
    how = {"method": "vid", "taps": TAPS, "feature_weight": 1.0}
    live, stored, nearly, folder = (model() for _ in range(4))
    distil(live, samples, targets, settings(), teacher=teacher, **how)
    monkeypatch.setattr(Teacher, "answer", None)  # no teacher is asked any more
    distil(stored, samples, targets, settings(), features=exact, **how)
    distil(nearly, samples, targets, settings(), features=rounded, **how)
    distil(folder, samples, targets, settings(), features=str(tmp_path / "real8"), **how)
    assert furthest(stored, live) < 1e-6
    assert 0 < furthest(nearly, live) < 1e-2
    assert same_weights(nearly, folder)


def test_stored_features_of_other_modules_are_refused(taught, tmp_path):
    teacher, targets = taught
    within = capture_features(teacher, (INPUTS, LABELS), ["0"], tmp_path / "features")
    with pytest.raises(TargetsError, match=r"none of the teacher's module '1', but of 0\."):
        distil(
            model(), (INPUTS, LABELS), targets, settings(), method="sp", taps=TAPS, features=within
        )


def test_stored_features_are_those_of_the_view_that_is_seen(tmp_path):
    def network(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3))

    teacher = Teacher(network(1), [Head(space="categorical", size=3)])
    samples = split(inputs=IMAGES, views=Views(shift=1))
    targets = capture(teacher, samples, tmp_path / "targets", views=2, **EXACT)
    exact = {"views": 2, "codec": "dense32"}
    within = capture_features(teacher, samples, ["1"], tmp_path / "features", **exact)
    how = {"method": "fitnets", "taps": TAPS, "feature_weight": 1.0}
    live, stored = network(0), network(0)
    distil(live, samples, targets, settings(), teacher=teacher, **how)
    distil(stored, samples, targets, settings(), features=within, **how)
    assert furthest(stored, live) < 1e-6


def test_each_seed_draws_what_is_learned_beside_the_student(taught):
    teacher, targets = taught

    def apart(method):
        """How far two seeds come in one batch of all samples, where order is nothing."""
        how = {"method": method, "taps": TAPS, "teacher": teacher, "feature_weight": 1.0}
        one, other = model(), model()
        for seed, student in enumerate((one, other)):
            whole = settings(batch_size=len(INPUTS))
            distil(student, (INPUTS, LABELS), targets, whole, seed=seed, **how)
        return furthest(one, other)

    assert apart("sp") < 1e-5  # which has nothing beside the student
    assert apart("fitnets") > 1e-3


def test_a_pass_is_not_gone_on_with_by_a_learner_of_other_taps(tmp_path, monkeypatch):
    stop_after = problem.stopper(monkeypatch)

    def learn(path, **options):
        who, whose = features.student(), features.teacher()
        one = features.learner("sp", who, whose, taps=[(path, path)])
        features.train([one], whose, **options)
        return who

    stop_after(problem.NEVER)
    whole = learn("second")
    stop_after(7)
    with pytest.raises(Interrupted):
        learn("first", checkpoint=tmp_path / "state")
    stop_after(problem.NEVER)
    assert same_weights(learn("second", checkpoint=tmp_path / "state"), whole)


def test_features_of_unlabelled_samples_are_learned_from_beside_labels_alone(taught):
    teacher, targets = taught
    labelled = torch.arange(len(INPUTS)) % 4 == 0
    samples = Watched(INPUTS, {"label": LABELS}, labelled=labelled)
    how = {"method": "sp", "taps": TAPS, "teacher": teacher}
    distil(model(), samples, targets, settings(), hard_weight=1.0, soft_weight=0.0, **how)
    seen = torch.cat([index for index, *_ in samples.asked[1:]]).unique()
    assert len(seen) == len(INPUTS)


def test_features_of_fewer_views_than_the_targets_are_refused(taught, tmp_path):
    teacher, _ = taught
    samples = (INPUTS, LABELS)
    twice = capture(teacher, samples, tmp_path / "twice", views=2, **EXACT)
    once = capture_features(teacher, samples, ["1"], tmp_path / "features")
    with pytest.raises(TargetsError, match=r"have 1 of the targets' 2 views .*views=2"):
        distil(model(), samples, twice, settings(), method="sp", taps=TAPS, features=once)


def test_precision_of_the_students_own_stays(taught):
    teacher, targets = taught
    student = model()
    options = {"method": "vid", "taps": TAPS, "teacher": teacher}
    distil(student, (INPUTS, LABELS), targets, settings(precision="bf16"), **options)
    assert all(part.dtype == torch.float32 for part in student.parameters())


# ---- SimKD, as docs/teachers.md has it ----------------------------------------------------------


def page():
    """What docs/teachers.md has of SimKD: its student, and the call."""
    text = (Path(__file__).parents[2] / "docs" / "teachers.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text.split("SimKD")[1], flags=re.DOTALL)[:2]


def test_a_student_learns_to_end_in_its_teachers_classifier(tmp_path):
    student_of_page, call_of_page = page()
    torch.manual_seed(0)
    whole = CNN(1, [4, 8], 10)
    images = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    teacher = Teacher(whole, [Head(space="categorical", size=10)])
    data = (images, whole(images).argmax(1))
    heard = []

    def watched(*given, **options):
        heard.append(distil(*given, settings(epochs=12, learning_rate=0.01), **options))

    limbeck = SimpleNamespace(distil=watched)
    known = {"CNN": CNN, "limbeck": limbeck, "teacher": whole, "data": data}
    known["targets"] = capture(teacher, data, tmp_path / "targets", **EXACT)
    head = {name: part.clone() for name, part in whole.head.state_dict().items()}
    exec(student_of_page + call_of_page, known)
    first, *_, last = heard[0].terms["features"]
    assert last < 0.7 * first
    student = known["student"]
    assert all(torch.equal(student.head.state_dict()[name], part) for name, part in head.items())
    assert not student.head.weight.requires_grad
