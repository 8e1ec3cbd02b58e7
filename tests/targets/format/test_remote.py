"""Transfer sets behind a URL: S3's protocol on the loopback, memory:// and file://."""

import signal
import sys
import time
import uuid
from urllib.request import Request, urlopen

import fsspec
import numpy as np
import pytest

import limbeck.targets.format._remote as remote
import limbeck.targets.format._shard_writer as shard_writer
from limbeck._errors import ExtraError, OptionError, StorageError, TargetsError
from limbeck.targets import TransferSet, capture
from limbeck.targets.format._remote import cache_folder
from limbeck.teachers import Teacher
from tests.pipeline.examples import python
from tests.targets.s3 import Bucket, serving


@pytest.fixture(scope="module")
def environment():
    with serving() as variables:
        yield variables


@pytest.fixture
def bucket(environment, monkeypatch, tmp_path):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    return Bucket(environment, uuid.uuid4().hex)


@pytest.fixture
def many_shards(monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_SECONDS", 0.0)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Make this another machine: one that holds nothing yet."""

    def move():
        monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / uuid.uuid4().hex))

    return move


def values(targets, samples):
    return targets.read(targets.positions(samples.keys))["label"].values


@pytest.mark.parametrize("protocol", ["s3", "memory", "file"])
def test_what_was_captured_to_a_url_is_read_from_it_anywhere(
    protocol, teacher, samples, bucket, elsewhere, tmp_path
):
    where = {"s3": bucket.name, "memory": uuid.uuid4().hex, "file": f"{tmp_path}/far"}[protocol]
    local = capture(teacher, samples, tmp_path / "local")
    url = f"{protocol}://{where}/sets/one"
    made = capture(teacher, samples, url)
    elsewhere()
    found = TransferSet(url)
    assert found.manifest == made.manifest
    assert found.manifest.settings == local.manifest.settings
    assert values(found, samples).equal(values(local, samples))
    assert found.verify() == 40


def test_only_whole_files_lie_at_the_remote_and_the_manifest_comes_last(
    teacher, samples, bucket, many_shards, monkeypatch
):
    put, seen = remote._Mirror.put, []
    monkeypatch.setattr(
        remote._Mirror, "put", lambda self, name: (put(self, name), seen.append(name))[0]
    )
    capture(teacher, samples, f"s3://{bucket.name}/x", batch_size=10)
    assert len(seen) == 5
    assert seen[-1] == "manifest.json"
    assert sorted(seen) == bucket.names()


def test_a_whole_set_is_not_asked_or_put_again(teacher, ask, samples, bucket, monkeypatch):
    url = f"s3://{bucket.name}/x"
    capture(teacher, samples, url)
    asked = ask.samples
    monkeypatch.setattr(remote._Mirror, "put", lambda *given: pytest.fail("put again"))
    capture(teacher, samples, url)
    assert ask.samples - asked == 8  # a callable is asked about a few, whether it is the same


def test_what_is_here_already_is_not_fetched_again(teacher, samples, bucket, monkeypatch):
    url = f"s3://{bucket.name}/x"
    made = capture(teacher, samples, url)
    s3, fetched = fsspec.filesystem("s3"), []
    get_file = s3.get_file

    def counted(path, *rest):
        fetched.append(path)
        return get_file(path, *rest)

    monkeypatch.setattr(s3, "get_file", counted)
    TransferSet(url)
    assert fetched == []
    [shard] = made.folder.glob("shard-*.arrow")
    shard.write_bytes(shard.read_bytes()[:-1])  # the copy here is damaged; over there it is whole
    assert values(TransferSet(url), samples).equal(values(made, samples))
    assert len(fetched) == 1


def test_an_interrupted_capture_goes_on_on_another_machine(
    samples, make, bucket, many_shards, elsewhere, tmp_path
):
    url = f"s3://{bucket.name}/x"
    stops = make.asked(make.logits, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stops, [make.label]), samples, url, batch_size=10)
    assert "manifest.json" not in bucket.names()
    elsewhere()
    goes_on = make.asked(make.logits)
    targets = capture(Teacher(goes_on, [make.label]), samples, url, batch_size=10)
    assert goes_on.samples == 20 + 8
    whole = capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "local")
    assert values(targets, samples).equal(values(whole, samples))


SLOW = """
import sys, time
import limbeck.targets.format._shard_writer as shard_writer
from limbeck.targets import capture
from limbeck.teachers import Teacher
from tests.targets.conftest import LABEL, Asked, logits_of, make_samples
shard_writer.SHARD_SECONDS = 0.0
def answer(sample):
    time.sleep(0.01)
    return logits_of(sample)
asked = Asked(answer)
capture(Teacher(asked, [LABEL]), make_samples(), sys.argv[1], batch_size=4)
"""


def test_a_killed_capture_goes_on_on_another_machine(
    samples, make, bucket, many_shards, elsewhere, tmp_path
):
    url = f"s3://{bucket.name}/x"
    process = python("-c", SLOW, url, cwd=tmp_path)
    end = time.monotonic() + 120
    while len(bucket.names()) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    there = len(bucket.names())
    assert there >= 3
    assert "manifest.json" not in bucket.names()
    elsewhere()
    goes_on = make.asked(make.logits)
    targets = capture(Teacher(goes_on, [make.label]), samples, url, batch_size=4)
    assert goes_on.samples == 40 - 4 * there + 8
    assert targets.verify() == 40


def test_the_remote_folder_is_the_truth(teacher, ask, samples, bucket):
    url = f"s3://{bucket.name}/x"
    capture(teacher, samples, url)
    for name in bucket.names():
        bucket.remove(f"x/{name}")
    with pytest.raises(TargetsError, match="holds no whole transfer set"):
        TransferSet(url)
    asked = ask.samples
    capture(teacher, samples, url)
    assert ask.samples - asked == 40


def test_a_corrupt_object_is_named_and_done_again(teacher, ask, samples, bucket, elsewhere):
    url = f"s3://{bucket.name}/x"
    capture(teacher, samples, url)
    [shard] = [name for name in bucket.names() if name.endswith(".arrow")]
    raw = bytearray(bucket.read(f"x/{shard}"))
    raw[len(raw) // 2] ^= 4
    bucket.write(f"x/{shard}", bytes(raw))
    elsewhere()
    with pytest.raises(TargetsError) as error:
        TransferSet(url)
    assert f"{url}/{shard} is damaged: expected checksum" in str(error.value)
    bucket.remove(f"x/{shard}")
    with pytest.raises(TargetsError, match="is damaged: it is missing"):
        TransferSet(url)
    bucket.remove("x/manifest.json")
    asked = ask.samples
    assert capture(teacher, samples, url).verify() == 40
    assert ask.samples - asked == 40


def test_a_corrupt_manifest_is_named(teacher, samples, bucket):
    url = f"s3://{bucket.name}/x"
    capture(teacher, samples, url)
    bucket.write("x/manifest.json", bucket.read("x/manifest.json").replace(b"asked", b"other"))
    with pytest.raises(TargetsError) as error:
        TransferSet(url)
    assert f"{url}/manifest.json is damaged" in str(error.value)


def test_names_that_no_capture_gives_are_left_alone(teacher, samples, bucket):
    for name in ("x/notes.txt", "x/shard-00000-../../../0000000000000000.arrow", "x/shard-1.arrow"):
        bucket.write(name, b"mine")
    targets = capture(teacher, samples, f"s3://{bucket.name}/x")
    assert len(list(targets.folder.glob("*.arrow"))) == 1
    assert bucket.read("x/notes.txt") == b"mine"


def test_a_missing_bucket_is_said_before_the_teacher_is_asked(teacher, ask, samples, bucket):
    with pytest.raises(StorageError) as error:
        capture(teacher, samples, "s3://no-such-bucket/x")
    assert str(error.value) == (
        "cannot write s3://no-such-bucket/x: there is no such bucket, folder or file. Make it, or "
        "correct the URL."
    )
    assert ask.samples == 0


def test_no_permission_is_said_before_the_teacher_is_asked(
    teacher, ask, samples, bucket, environment
):
    def require_rights(after):
        address = f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        urlopen(Request(address, data=after.encode(), headers=plain, method="POST")).close()

    require_rights("0")
    try:
        with pytest.raises(StorageError, match="there is no permission"):
            capture(teacher, samples, f"s3://{bucket.name}/x")
    finally:
        require_rights("inf")
    assert ask.samples == 0


def test_a_server_that_is_not_there_is_said(teacher, samples, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        with pytest.raises(StorageError, match="run the same command again"):
            capture(teacher, samples, f"s3://{bucket.name}/x")
    finally:
        fsspec.filesystem("s3").clear_instance_cache()


def test_an_unknown_protocol_is_refused(teacher, samples):
    with pytest.raises(OptionError, match="such as s3://bucket/folder"):
        capture(teacher, samples, "s4://bucket/x")


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    with pytest.raises(ExtraError, match=r"gcsfs.* pip install 'limbeck\[remote\]'"):
        TransferSet("gs://bucket/x")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ExtraError) as error:
        TransferSet("s3://bucket/x")
    assert str(error.value) == "s3://bucket/x needs fsspec. pip install 'limbeck[remote]'."


def test_mirrors_of_two_urls_are_two_folders(bucket):
    one, other = (remote.place_of(f"s3://{bucket.name}/{name}").folder for name in ("a/b", "a-b"))
    assert one != other
    assert {one.parent, other.parent} == {cache_folder()}


def test_the_cache_is_the_users_own_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("LIMBECK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "limbeck"


def test_what_a_codec_learned_travels_first(teacher, samples, bucket, elsewhere, learning):
    url = f"s3://{bucket.name}/x"
    made = capture(teacher, samples, url, codec=learning)
    elsewhere()
    found = TransferSet(url)
    for name, tensor in made.states["label"].items():
        assert found.states["label"][name].equal(tensor)
    assert np.array_equal(values(found, samples), values(made, samples))
