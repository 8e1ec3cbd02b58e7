import pytest

from limbeck.doctor._units import human_bytes, human_seconds


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1000, "1000 B"),
        (1023.9, "1 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**30, "5 GiB"),
        (2048 * 2**40, "2048 TiB"),
    ],
)
def test_bytes_are_in_powers_of_1024(number, text):
    assert human_bytes(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0021, "2.1 ms"),
        (0.28, "280 ms"),
        (0.9999, "1 s"),
        (59.9, "59.9 s"),
        (75, "1.25 min"),
        (3600 * 24 * 10, "10 days"),
    ],
)
def test_seconds_are_in_the_unit_that_people_would_use(number, text):
    assert human_seconds(number) == text
