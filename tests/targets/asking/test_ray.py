"""A local Ray cluster of two workers."""

import os
import sys

import pytest

import limbeck.targets.format._shard_writer as shard_writer
from limbeck._errors import ExtraError, ModelError, OptionError
from limbeck.pipeline import make_targets
from limbeck.targets import Processes, TransferSet, capture
from limbeck.teachers import Teacher
from tests.pipeline.examples import small
from tests.targets.asking.asked_by_ray import Noted
from tests.targets.s3 import Bucket, serving


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers that find an S3 server, and mirror it in a folder that is not this process's."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch, serving() as environment:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("workers")))
        for name, value in environment.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 << 20,
            _node_ip_address="127.0.0.1",
        )
        yield Bucket(environment, "answers")
        ray.shutdown()


def values(targets, samples):
    return targets.read(targets.positions(samples.keys))["label"].values


def test_two_workers_store_what_one_process_stores(cluster, make, samples, tmp_path):
    noted = Noted(tmp_path / "log")
    targets = capture(
        Teacher(noted, [make.label]), samples, tmp_path / "set", batch_size=5, engine="ray"
    )
    alone = capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "alone")
    assert values(targets, samples).equal(values(alone, samples))
    asked = noted.noted()
    assert sum(count for _, count in asked) == 40
    assert os.getpid() not in {process for process, _ in asked}
    assert len({process for process, _ in asked}) == 2
    assert TransferSet(tmp_path / "set").verify() == 40


def test_a_recipes_targets_can_be_made_by_ray(cluster, tmp_path):
    [targets] = make_targets(small(tmp_path), tmp_path / "run", engine="ray")
    assert targets.card.rows == 600


def test_a_killed_workers_rows_are_done_again_and_none_twice(cluster, make, samples, tmp_path):
    noted = Noted(tmp_path / "log", killed=3)
    targets = capture(
        Teacher(noted, [make.label]), samples, tmp_path / "set", batch_size=1, engine="ray"
    )
    assert noted._log.with_suffix(".killed").exists()
    assert targets.verify() == 40
    assert targets.card.rows == 40
    # Of what the killed one was asked, the open batches are asked again, not those before.
    assert 41 <= sum(count for _, count in noted.noted()) <= 42
    numbers = [path.name.split("-")[1] for path in (tmp_path / "set").glob("shard-*")]
    assert len(set(numbers)) == len(numbers) > 1
    alone = capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "alone")
    assert values(targets, samples).equal(values(alone, samples))


def test_workers_go_on_with_a_remote_folder_and_ask_only_what_is_missing(
    cluster, make, samples, tmp_path, monkeypatch
):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))  # the workers have another
    url = f"s3://{cluster.name}/x"
    monkeypatch.setattr(shard_writer, "SHARD_SECONDS", 0.0)
    stops = Noted(tmp_path / "log", stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stops, [make.label]), samples, url, batch_size=5)
    before = set(cluster.names())
    noted = Noted(tmp_path / "more")
    targets = capture(Teacher(noted, [make.label]), samples, url, batch_size=5, engine="ray")
    in_workers = [count for process, count in noted.noted() if process != os.getpid()]
    assert sum(in_workers) == 40 - 5 * len(before)
    assert before < set(cluster.names())
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "third"))
    assert TransferSet(url).manifest == targets.manifest
    assert targets.verify() == 40


def test_what_the_teacher_raises_is_raised_here(cluster, make, samples, tmp_path):
    noted = Noted(tmp_path / "log", refuse=True)
    with pytest.raises(ModelError, match="would rather not say"):
        capture(Teacher(noted, [make.label]), samples, tmp_path / "set", engine="ray")


def test_an_unknown_engine_and_torchrun_are_refused(teacher, samples, tmp_path):
    with pytest.raises(OptionError, match="engine must be one of here, ray"):
        capture(teacher, samples, tmp_path, engine="rai")
    with pytest.raises(OptionError, match="run it without torchrun"):
        capture(teacher, samples, tmp_path, engine="ray", processes=Processes(count=2))


def test_a_missing_library_is_named_with_its_extra(teacher, samples, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExtraError, match=r"pip install 'limbeck\[ray\]'"):
        capture(teacher, samples, tmp_path, engine="ray")
