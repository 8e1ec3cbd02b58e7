import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import limbeck.targets._merge as merging
from limbeck._errors import OptionError, TargetsError
from limbeck.targets import TransferSet, capture, convert, data_fingerprint, merge
from limbeck.targets.format._remote import place_of
from limbeck.teachers import Teacher


@pytest.fixture
def parts(make, samples, tmp_path):
    """The folders of the two halves of the samples, and that of all."""
    folders = []
    for name, index in (("a", range(15)), ("b", range(15, 40)), ("all", range(40))):
        part = samples.subset(torch.tensor(list(index)))
        capture(Teacher(make.asked(make.logits), [make.label]), part, tmp_path / name)
        folders.append(tmp_path / name)
    return folders


def values(targets, samples):
    return targets.read(targets.positions(samples.keys))["label"].values


def test_two_sets_read_as_the_one_that_was_captured_whole(parts, samples, tmp_path):
    one, other, whole = parts
    merged = merge(tmp_path / "merged", [one, other])
    assert values(merged, samples).equal(values(TransferSet(whole), samples))
    assert merged.verify() == 40
    assert merged.manifest.settings == TransferSet(whole).manifest.settings
    assert merged.manifest.settings.data == data_fingerprint(samples.keys)
    assert merged.card.kl_to_teacher == pytest.approx(TransferSet(whole).card.kl_to_teacher)


def test_shards_are_taken_over_to_the_byte(parts, tmp_path):
    merged = merge(tmp_path / "merged", parts[:2])
    for path in merged.folder.glob("shard-*.arrow"):
        [source] = [
            each
            for folder in parts[:2]
            for each in folder.glob("shard-*.arrow")
            if each.read_bytes() == path.read_bytes()
        ]
        assert os.path.samefile(source, path)


def test_a_copy_is_taken_once(parts, samples, tmp_path):
    merged = merge(tmp_path / "merged", [parts[0], parts[1], parts[0]])
    assert merged.card.rows == 40


def test_rows_of_one_sample_in_two_sets_are_refused(parts, tmp_path):
    with pytest.raises(TargetsError, match="15 samples have rows in several"):
        merge(tmp_path / "merged", [parts[0], parts[2]])
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("option", "named"),
    [({"codec": "dense32"}, "codec: expected"), ({"temperature": 2.0}, "temperature: expected")],
)
def test_sets_of_other_settings_are_refused_by_name(parts, make, samples, tmp_path, option, named):
    other = capture(
        Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "other", **option
    )
    with pytest.raises(TargetsError, match=named):
        merge(tmp_path / "merged", [parts[0], other.folder])


def test_a_merge_that_was_cut_off_goes_on(parts, samples, tmp_path):
    merged = merge(tmp_path / "merged", parts[:2])
    (merged.folder / "manifest.json").unlink()
    next(merged.folder.glob("shard-*.arrow")).unlink()
    assert merge(tmp_path / "merged", parts[:2]).manifest == merged.manifest


@pytest.mark.parametrize("left", [1, 2], ids=["one taken", "all taken"])
@pytest.mark.parametrize("where", ["folder", "url"])
def test_a_merge_that_was_cut_off_is_made_anew_in_another_order(
    parts, samples, tmp_path, monkeypatch, where, left
):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "merged" if where == "folder" else f"memory://order-{left}-{tmp_path.name}"
    taken, take = [], merging._take

    def take_some(place, path, name):
        if len(taken) == left:
            raise KeyboardInterrupt
        taken.append(name)
        take(place, path, name)

    def stop(*arguments):
        raise KeyboardInterrupt

    one, other, whole = parts
    with monkeypatch.context() as patch:
        patch.setattr(merging, "_take", take_some)
        patch.setattr(merging, "write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            merge(out, [one, other])
    assert len(taken) == left
    again = merge(out, [other, one])
    assert again.manifest == merge(tmp_path / "straight", [other, one]).manifest
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "elsewhere"))
    assert TransferSet(out).verify() == 40
    assert values(TransferSet(out), samples).equal(values(TransferSet(whole), samples))
    there = place_of(out)
    assert there.names() == {shard.file for shard in again.manifest.shards}


def test_a_folder_with_something_else_is_refused(parts, tmp_path):
    with pytest.raises(TargetsError, match="holds a transfer set already"):
        merge(parts[2], parts[:2])
    (parts[2] / "manifest.json").unlink()
    with pytest.raises(TargetsError, match="which is of something else"):
        merge(parts[2], parts[:2])


def test_one_is_not_enough(parts, tmp_path):
    with pytest.raises(OptionError, match="got 1"):
        merge(tmp_path / "merged", parts[:1])


def test_to_a_url(parts, samples, tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    url = f"memory://merge-{tmp_path.name}"
    merged = merge(url, parts[:2])
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "elsewhere"))
    assert TransferSet(url).manifest == merged.manifest


def test_what_the_codec_learned_goes_along_and_must_be_the_same(make, samples, tmp_path, learning):
    halves = [samples.subset(torch.arange(20)), samples.subset(torch.arange(20, 40))]
    one, other = (
        capture(
            Teacher(make.asked(make.logits), [make.label]),
            half,
            tmp_path / name,
            codec=learning,
        )
        for name, half in zip("ab", halves, strict=True)
    )
    with pytest.raises(TargetsError, match="learned of their rows differs"):
        merge(tmp_path / "merged", [one.folder, other.folder])
    same = merge(tmp_path / "same", [one.folder, one.folder])
    assert values(same, halves[0]).equal(values(one, halves[0]))


LEARNING = {"codec": "selected", "temperature": 1.0}


@pytest.fixture
def halves(make, samples):
    """A teacher, and the two halves of the samples."""
    teacher = Teacher(make.asked(make.logits), [make.label])
    return teacher, samples.subset(torch.arange(20)), samples.subset(torch.arange(20, 40))


def test_sets_whose_codec_learned_of_other_rows_are_refused_with_the_way_out(halves, tmp_path):
    teacher, one, other = halves
    for name, part in (("a", one), ("b", other)):
        capture(teacher, part, tmp_path / name, **LEARNING)
    with pytest.raises(TargetsError, match=r"Capture the second one anew with like = '.*a'"):
        merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])


def test_a_set_that_takes_over_what_anothers_codec_learned_merges_with_it(
    halves, samples, tmp_path
):
    teacher, one, other = halves
    first = capture(teacher, one, tmp_path / "a", **LEARNING)
    second = capture(teacher, other, tmp_path / "b", temperature=1.0, like=tmp_path / "a")
    assert second.manifest.settings.state == first.manifest.settings.state
    merged = merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    for part, made in ((one, first), (other, second)):
        read = merged.read(merged.positions(part.keys))["label"]
        alone = made.read(made.positions(part.keys))["label"]
        assert read.ids.equal(alone.ids)
        assert read.probabilities.equal(alone.probabilities)
    assert merged.verify() == len(samples)


def test_what_was_taken_over_is_part_of_what_a_folder_holds(halves, tmp_path):
    teacher, one, other = halves
    capture(teacher, one, tmp_path / "a", **LEARNING)
    capture(teacher, other, tmp_path / "b", **LEARNING)
    with pytest.raises(TargetsError, match="state: expected"):
        capture(teacher, other, tmp_path / "b", temperature=1.0, like=tmp_path / "a")
    done = capture(teacher, one, tmp_path / "a", temperature=1.0, like=tmp_path / "a")
    assert len(done.keys) == 20


@pytest.mark.parametrize(
    "named",
    [
        {"codec": "sqrt8"},
        {"codec_options": {"k": 2}},
        {"budget": "16 B/row"},
        {"max_kl": 0.1},
        {"codec": "auto", "max_kl": 0.1},
    ],
)
def test_a_codec_named_beside_another_sets_is_refused(parts, halves, tmp_path, named):
    with pytest.raises(OptionError, match="brings its codec"):
        capture(halves[0], halves[1], tmp_path / "new", like=parts[0], **named)


def test_another_sets_codec_must_be_of_the_same_heads(parts, make, halves, tmp_path):
    other = Teacher(make.asked(make.logits), [replace(make.label, name="other")])
    with pytest.raises(OptionError, match="is of other heads: it holds label"):
        capture(other, halves[1], tmp_path / "new", like=parts[0])


def test_converted_sets_merge_with_the_mean_of_what_was_lost_before(parts, tmp_path):
    read = [TransferSet(folder) for folder in parts[:2]]
    for folder, name in zip(parts[:2], "cd", strict=True):
        convert(folder, tmp_path / name, codec="sqrt8")
    merged = merge(tmp_path / "merged", [tmp_path / "c", tmp_path / "d"])
    origin = merged.manifest.settings.origin
    assert origin.path == ("dense16",)
    assert origin.kl_to_teacher == pytest.approx(
        (15 * read[0].card.kl_to_teacher + 25 * read[1].card.kl_to_teacher) / 40
    )
    assert TransferSet(tmp_path / "merged").verify() == 40


@pytest.fixture
def by_line(make):
    """A function to a teacher that gives a row for each of the first lines of a sample."""

    def of(lines):
        def answer(sample):
            return np.stack([make.logits(line) for line in sample[:lines]])

        return Teacher(make.asked(answer), [make.label])

    return of


def test_what_converted_sets_of_several_rows_a_sample_lost_is_a_mean_over_rows(
    by_line, samples, tmp_path
):
    for name, index in (("a", range(15)), ("b", range(15, 40))):
        part = samples.subset(torch.tensor(list(index)))
        capture(by_line(4), part, tmp_path / name)
        convert(tmp_path / name, tmp_path / f"{name}-converted", codec="sqrt8")
    lost = [TransferSet(tmp_path / name).card.kl_to_teacher for name in "ab"]
    merged = merge(tmp_path / "merged", [tmp_path / "a-converted", tmp_path / "b-converted"])
    mean = (15 * lost[0] + 25 * lost[1]) / 40
    assert merged.manifest.settings.origin.kl_to_teacher == pytest.approx(mean)


def test_sets_of_more_and_fewer_rows_a_sample_are_refused(by_line, halves, tmp_path):
    _, one, other = halves
    capture(by_line(4), one, tmp_path / "a")
    capture(by_line(2), other, tmp_path / "b")
    expected = r"rows of a sample: expected \{'label': 4\}, got \{'label': 2\}\. They may"
    with pytest.raises(TargetsError, match=expected):
        merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])


def test_a_converted_set_does_not_merge_with_one_that_was_asked(parts, tmp_path):
    convert(parts[0], tmp_path / "c", codec="dense16")
    for folders in ([tmp_path / "c", parts[1]], [parts[1], tmp_path / "c"]):
        with pytest.raises(TargetsError, match=r"c was converted, and \S+b was captured\. Convert"):
            merge(tmp_path / "merged", folders)
