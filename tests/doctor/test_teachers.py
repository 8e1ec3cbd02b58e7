"""The doctor looks at every one of several teachers."""

from limbeck.doctor import examine
from tests.pipeline.test_teachers import several


def table(found, title):
    (rows,) = [rows for name, _, rows in found.tables if name == title]
    return rows


def test_each_is_looked_at_and_all_are_asked_together(tmp_path):
    found = examine(several(tmp_path, "ensemble.how=confidence"))
    assert found.faults == []
    teacher = table(found, "Models")[0]
    # 64 * 32 + 32 + 32 * 10 + 10 and 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10.
    assert teacher[:3] == ["teacher", "mlp + mlp", f"{2410 + 1482:,}"]
    assert [row[0] for row in table(found, "Loss terms")[:2]] == ["teacher wide", "teacher deep"]
    assert [row[1] for row in table(found, "Time (an estimate)")[:3]] == [
        "teacher wide",
        "teacher deep",
        "teacher",
    ]
    assert "One like it is kept for each of wide, deep." in found.notes
    assert sum("is untrained" in note for note in found.notes) == 2


def test_a_learning_rate_that_leads_nowhere_is_named_by_its_own_section(tmp_path):
    overrides = ("teachers.deep.train.learning_rate=1e30", "teachers.deep.train.optimizer=SGD")
    (warning,) = examine(several(tmp_path, *overrides)).warnings
    assert "the loss of teacher deep is not finite. Lower teachers.deep.train.learning" in warning


def test_a_way_that_there_is_not_is_a_fault(tmp_path):
    found = examine(several(tmp_path, "ensemble.how=median"))
    (fault,) = found.faults
    assert "ensemble.how must be one of mean" in fault
