"""Of a loss of the user's own the doctor says what it did not measure, and what would change it."""

from tests.doctor.test_examine import look


def test_a_loss_of_ones_own_is_told_to_be_proved_elsewhere():
    own = "tests.methods.own_losses:kd"
    assert any(
        f"`limbeck prove {own}` says it" in note for note in look(f"distil.method={own}").notes
    )
    assert not any("is your own" in note for note in look().notes)


def test_a_loss_of_ones_own_that_compares_rows_is_told_of_micro_batches():
    own = "tests.methods.own_losses:relations"
    found = look(f"distil.method={own}", "train.accumulate=2")
    assert any("compares the rows of a batch with each other" in each for each in found.warnings)
