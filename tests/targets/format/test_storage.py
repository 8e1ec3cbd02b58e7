"""A disk that fills, files that vanish, two writers: a clear error, and nothing whole is lost."""

import fcntl
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from _killing import KINDS, PATIENCE, REFUSED, SAMPLES, start

import limbeck.targets.format._shard_writer as shard_writer
from limbeck._errors import ModelError, StorageError, TargetsError
from limbeck._files import only_writer
from limbeck.targets import TransferSet, capture
from limbeck.targets.asking._capture import ASKED_AGAIN
from limbeck.teachers import Teacher

NOBODY = 65534


@contextmanager
def room_for(size):
    """No file may grow beyond so many bytes, as on a disk that fills."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end, "nothing came of it in 10 s"
        time.sleep(0.001)


def open_shard_of(folder):
    (path,) = folder.glob(".shard-*.part")
    return path


def num_blocks(path):
    """How many blocks of an open shard are whole, by plain pyarrow; one may be half written."""
    blocks = 0
    with suppress(pa.ArrowInvalid, OSError, StopIteration), pa.memory_map(str(path)) as source:
        source.seek(8)
        reader = pa.ipc.open_stream(source)
        while True:
            reader.read_next_batch()
            blocks += 1
    return blocks


def gone_on(make, folder, samples):
    """How many samples are asked about when the capture goes on to its end."""
    asked, begun = make.asked(make.logits), any(folder.glob("*shard-*"))
    assert capture(Teacher(asked, [make.label]), samples, folder).verify() == 40
    assert list(folder.glob(".*.part")) == []
    return asked.samples - (ASKED_AGAIN if begun else 0)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 8)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_SECONDS", 0.0)


@pytest.fixture
def killed(make, samples, tmp_path, small_blocks):
    """A folder as a kill after three whole blocks leaves it: one open shard."""

    def answer(sample):
        if asked.batches == 4 and not (tmp_path / "killed").exists():
            wait_until(lambda: num_blocks(open_shard_of(tmp_path / "going")) == 3)
            shutil.copytree(tmp_path / "going", tmp_path / "killed")
        return make.logits(sample)

    asked = make.asked(answer)
    capture(Teacher(asked, [make.label]), samples, tmp_path / "going", batch_size=8)
    return tmp_path / "killed"


@pytest.fixture
def stop(make, samples, tmp_path, small_blocks):
    """Capture in batches of 8 samples, and do something when the fourth is asked about."""

    def stop(event):
        def answer(sample):
            if asked.batches == 4 and not happened:
                happened.append(event())
            return make.logits(sample)

        happened, asked = [], make.asked(answer)
        return capture(Teacher(asked, [make.label]), samples, tmp_path / "set", batch_size=8)

    return stop


def test_a_disk_that_is_full_when_a_state_is_written(teacher, samples, tmp_path):
    learned = {"codec": "threshold", "codec_options": {"tau": 0.1}}
    with room_for(10), pytest.raises(StorageError, match=r"cannot write .*state-.*no room left"):
        capture(teacher, samples, tmp_path / "set", **learned)
    assert list((tmp_path / "set").iterdir()) == []
    assert capture(teacher, samples, tmp_path / "set", **learned).verify() == 40


def test_a_disk_that_fills_keeps_the_whole_blocks_of_the_open_shard(make, samples, stop, tmp_path):
    def fills():
        part = open_shard_of(tmp_path / "set")
        wait_until(lambda: num_blocks(part) == 3)
        limit.enter_context(room_for(part.stat().st_size + 10))

    with ExitStack() as limit, pytest.raises(StorageError, match=r"no room left\. Free some"):
        stop(fills)
    assert gone_on(make, tmp_path / "set", samples) == 16


def test_a_disk_that_is_full_when_an_open_shard_is_kept(teacher, make, samples, killed):
    enough_for_two_blocks = open_shard_of(killed).stat().st_size - 100
    full = pytest.raises(StorageError, match=r"cannot write .*\.shard-.*no room")
    with room_for(enough_for_two_blocks), full:
        capture(teacher, samples, killed)
    assert len(list(killed.iterdir())) == 1
    assert gone_on(make, killed, samples) == 16


def test_a_disk_that_is_full_when_the_manifest_is_written(teacher, make, samples, stored):
    (stored / "manifest.json").unlink()
    with room_for(10), pytest.raises(StorageError, match=r"manifest\.json: there is no room left"):
        capture(teacher, samples, stored)
    assert [path.suffix for path in stored.iterdir()] == [".arrow"]
    assert gone_on(make, stored, samples) == 0


def test_a_disk_that_is_full_when_shards_are_unpacked(stored):
    first = TransferSet(stored, reading="mapped")
    with room_for(10), pytest.raises(StorageError, match=r"\.unpacked-.*no room left"):
        first.read(torch.arange(40))
    assert list(stored.glob(".unpacked*")) == []
    want = TransferSet(stored).read(torch.arange(40))["label"].values
    assert first.read(torch.arange(40))["label"].values.equal(want)


def test_an_open_shard_that_vanishes_is_named(make, samples, stop, tmp_path):
    def vanish():
        wait_until(lambda: num_blocks(open_shard_of(tmp_path / "set")) == 3)
        open_shard_of(tmp_path / "set").unlink()

    with pytest.raises(StorageError, match=r"cannot write .*\.shard-0.*No such file.* goes on"):
        stop(vanish)
    assert gone_on(make, tmp_path / "set", samples) == 40


@pytest.mark.usefixtures("small_shards")
def test_a_folder_that_vanishes_is_named(make, samples, stop, tmp_path):
    def vanish():
        wait_until(lambda: len(list((tmp_path / "set").glob("shard-*"))) == 3)
        shutil.rmtree(tmp_path / "set")

    with pytest.raises(StorageError, match=r"cannot write .*\.shard-0.*No such file.* goes on"):
        stop(vanish)
    assert gone_on(make, tmp_path / "set", samples) == 40


@pytest.mark.usefixtures("small_shards")
def test_whole_shards_that_vanish_are_asked_again_and_no_others(make, samples, stop, tmp_path):
    def vanish():
        wait_until(lambda: len(list((tmp_path / "set").glob("shard-*"))) == 3)
        next((tmp_path / "set").glob("shard-00001-*")).unlink()

    with pytest.raises(StorageError, match=r"were lost while it was written: it does not hold"):
        stop(vanish)
    assert not (tmp_path / "set" / "manifest.json").exists()
    assert gone_on(make, tmp_path / "set", samples) == 8


def test_a_state_that_vanishes_is_named(teacher, samples, tmp_path):
    learned = {"codec": "threshold", "codec_options": {"tau": 0.1}}
    capture(teacher, samples, tmp_path, **learned)
    next(tmp_path.glob("state-*")).unlink()
    for again in (TransferSet, lambda folder: capture(teacher, samples, folder, **learned)):
        with pytest.raises(TargetsError, match=r"state-.* is damaged: it is missing\. Bring it"):
            again(tmp_path)


@pytest.mark.usefixtures("small_blocks", "small_shards")
def test_a_folder_that_may_no_longer_be_written_is_named(make, samples):
    # Beside the folders of pytest, which other users may not look into.
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)

    def answer(sample):
        if asked.batches == 4 and user == os.geteuid():
            wait_until(lambda: len(list((place / "set").glob("shard-*"))) == 3)
            (place / "set").chmod(0o555)
            if user == 0:
                os.seteuid(NOBODY)  # root needs no permission
        return make.logits(sample)

    user, asked = os.geteuid(), make.asked(answer)
    try:
        with pytest.raises(StorageError, match=r"cannot write .*there is no permission to write"):
            capture(Teacher(asked, [make.label]), samples, place / "set", batch_size=8)
        os.seteuid(user)
        (place / "set").chmod(0o755)
        assert gone_on(make, place / "set", samples) == 16
    finally:
        os.seteuid(user)
        shutil.rmtree(place)


def test_what_a_teacher_said_before_its_connection_broke_is_kept(make, samples, stop, tmp_path):
    def breaks():
        raise ConnectionResetError("connection reset by peer")

    with pytest.raises((ConnectionResetError, ModelError), match="connection reset"):
        stop(breaks)
    assert gone_on(make, tmp_path / "set", samples) == 16


def test_what_was_said_before_a_sample_could_not_be_read_is_kept(make, samples, tmp_path):
    def unreadable(index, view=0):
        if asked.batches == 3:
            raise OSError("cannot read the disk with the pictures")
        return fetch(index, view)

    asked, fetch = make.asked(make.logits), samples.fetch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "fetch", unreadable)
        with pytest.raises(OSError, match="pictures"):
            capture(Teacher(asked, [make.label]), samples, tmp_path / "set", batch_size=8)
    assert gone_on(make, tmp_path / "set", samples) == 16


def test_blocks_that_a_killed_salvage_copied_are_kept_once(make, samples, killed):
    part = open_shard_of(killed)
    shutil.copy(part, killed / ".shard-00000.0000000000000000.part")
    shutil.copy(part, killed / ".shard-00001.ffffffffffffffff.part")
    assert gone_on(make, killed, samples) == 16


def test_what_killed_processes_left_half_written_is_removed(make, samples, killed):
    for name in (".state-0123456789abcdef.safetensors.7.part", ".manifest.json.7.part"):
        (killed / name).write_bytes(b"half")
    assert gone_on(make, killed, samples) == 16


def test_a_copy_of_what_the_folder_held_before_is_removed(stored):
    old = stored / ".unpacked-0123456789abcdef"
    old.mkdir()
    (old / "0.bin").write_bytes(b"old")
    TransferSet(stored, reading="mapped").read(torch.arange(1))
    [copy] = stored.glob(".unpacked-*")
    assert copy != old


def test_copies_that_killed_processes_left_half_unpacked_are_removed(stored):
    left, going = stored / ".unpacked-0.1.part", stored / ".unpacked-0.2.part"
    for folder in (left, going):
        folder.mkdir()
        os.utime(folder, (0, 0))
    with only_writer(going):
        TransferSet(stored, reading="mapped").read(torch.arange(40))
    assert not left.exists()
    assert going.exists()


def test_a_copy_whose_writer_is_done_meanwhile_is_no_error(stored, monkeypatch):
    # It was listed, and renamed before it was looked at.
    listed = Path.glob
    gone = stored / ".unpacked-0.3.part"
    monkeypatch.setattr(
        Path,
        "glob",
        lambda self, pattern: [*listed(self, pattern), *([gone] if "unpacked" in pattern else [])],
    )
    assert not gone.exists()
    rows = TransferSet(stored, reading="mapped").read(torch.arange(40))
    assert len(rows["label"].values) == 40


def test_a_copy_that_was_begun_just_now_is_left_to_who_will_write_it(stored):
    begun = stored / ".unpacked-0.1.part"
    begun.mkdir()  # its process is its only writer in a moment
    TransferSet(stored, reading="mapped").read(torch.arange(40))
    assert begun.exists()


LOCK = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]))
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH], ids=["first", "fellow"])
def test_a_process_that_writes_keeps_others_out_until_it_is_killed(make, samples, tmp_path, how):
    asked = make.asked(make.logits)
    command = [sys.executable, "-c", LOCK, str(tmp_path), str(int(how))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(StorageError, match=r"another process is writing to .*Wait for its"):
            capture(Teacher(asked, [make.label]), samples, tmp_path)
        process.kill()
    assert asked.samples == 0
    assert list(tmp_path.iterdir()) == []
    assert gone_on(make, tmp_path, samples) == 40


def test_of_two_captures_at_once_one_goes_through(tmp_path):
    started = [start(tmp_path / "set", tmp_path / "notes", KINDS[0])[0] for _ in range(2)]
    for process in started:
        process.join(PATIENCE)
    ended = sorted(process.exitcode for process in started)
    assert ended in ([0, REFUSED], [0, 0])  # both, if the second one began after the first's end
    assert TransferSet(tmp_path / "set").verify() == SAMPLES
    assert len((tmp_path / "notes").read_bytes()) == 4 * SAMPLES


def test_when_the_disk_fails_the_open_shard_stays_open(
    make, samples, tmp_path, small_blocks, monkeypatch
):
    """To close it would write more, onto what has no room."""
    write, blocks = shard_writer.ShardWriter._write_block, []

    def fail_at_the_fourth(self):
        blocks.append(self)
        if len(blocks) == 4:
            raise StorageError("no room left")
        write(self)

    monkeypatch.setattr(shard_writer.ShardWriter, "_write_block", fail_at_the_fourth)
    with pytest.raises(StorageError, match="no room left"):
        capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path, batch_size=8)
    assert len(blocks) == 4
    assert list(tmp_path.glob("shard-*.arrow")) == []
    assert num_blocks(open_shard_of(tmp_path)) == 3
    monkeypatch.undo()
    assert gone_on(make, tmp_path, samples) == 16
