import errno
import os
import resource
import signal
import stat

import pytest
import safetensors.torch
import torch

from limbeck._errors import StorageError
from limbeck._files import (
    file_hash,
    fingerprint,
    storage_errors,
    write_atomically,
    write_json,
    write_text,
)


@pytest.fixture
def full_disk():
    """A process that may not write more than 4096 bytes into any one file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_is_whole_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail(beside):
        beside.write_text("half", encoding="utf-8")
        raise RuntimeError("no more ideas")

    with pytest.raises(RuntimeError, match="no more ideas"):
        write_atomically(path, fail)
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def look(beside):
        beside.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"

    write_atomically(path, look)
    assert path.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "there is no room left. Free some space"),
        (errno.EDQUOT, "there is no room left. Free some space"),
        (errno.EACCES, "there is no permission to write. Choose another folder with --out"),
        (errno.EROFS, "there is no permission to write. Choose another folder with --out"),
        (
            errno.ENOTDIR,
            "a file or folder of that name is in the way. Choose another folder with --out",
        ),
        (errno.ENOENT, "No such file or directory. Choose another folder with --out"),
        (errno.EIO, "Input/output error. Mend that"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_way_out(tmp_path, code, message):
    path = tmp_path / "file.txt"

    def refuse(beside):
        raise OSError(code, os.strerror(code))

    with pytest.raises(StorageError) as error:
        write_atomically(path, refuse)
    assert str(error.value) == (
        f"cannot write {path}: {message}, and run the same command again: it goes on from the "
        "last file that is whole."
    )


def test_a_storage_error_is_told_once(tmp_path):
    with pytest.raises(StorageError, match=r"^as it was$"), storage_errors(tmp_path):
        raise StorageError("as it was")


def test_a_full_disk_is_a_storage_error_and_leaves_the_old_file(tmp_path, full_disk):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(StorageError, match=r"there is no room left\. Free some space"):
        write_text(path, "x" * 10_000)
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_is_a_storage_error_for_weights_too(tmp_path, full_disk):
    def write(beside):
        safetensors.torch.save_file({"weight": torch.zeros(10_000)}, str(beside))

    with pytest.raises(StorageError, match=r"there is no room left\. Free some space"):
        write_atomically(tmp_path / "weights.safetensors", write)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_fault_of_the_weights_themselves_is_not_blamed_on_the_disk(tmp_path):
    def write(beside):
        raise safetensors.SafetensorError("header too large")

    with pytest.raises(safetensors.SafetensorError, match="header too large"):
        write_atomically(tmp_path / "weights.safetensors", write)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="a file or folder of that name is in the way"):
        write_text(tmp_path / "taken" / "file.txt", "x")


def test_json_refuses_nan_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"score": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_flipped_bit_changes_a_files_hash(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(3 << 20))
    before = file_hash(path)
    assert len(before) == 16
    assert file_hash(path) == before
    raw = bytearray(path.read_bytes())
    raw[2 << 20] ^= 1
    path.write_bytes(raw)
    assert file_hash(path) != before


def test_a_fingerprint_depends_on_the_value_alone():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert len(fingerprint(None)) == 16


def test_a_file_and_then_its_place_in_the_folder_outlive_a_loss_of_power(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        there = (tmp_path / "it.txt").exists()
        synced.append(("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file", there))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "it.txt", "whole")
    assert synced == [("file", False), ("folder", True)]
