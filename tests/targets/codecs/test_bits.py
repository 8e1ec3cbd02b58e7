import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.targets.codecs._bits import pack, packed_width, unpack


@given(st.integers(1, 16), st.integers(1, 40), st.integers(0, 3), st.data())
def test_what_is_packed_is_unpacked_in_as_few_bytes_as_hold_it(bits, count, rows, data):
    numbers = st.lists(st.integers(0, 2**bits - 1), min_size=count, max_size=count)
    drawn = [data.draw(numbers) for _ in range(rows)]
    whole = torch.tensor(drawn, dtype=torch.long).reshape(rows, count)
    packed = pack(whole, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (rows, packed_width(count, bits))
    assert 0 <= 8 * packed_width(count, bits) - count * bits < 8
    assert torch.equal(unpack(packed, bits, count), whole)


@pytest.mark.parametrize("bits", [3, 5, 11])
def test_the_stream_is_that_of_the_binary_digits(bits):
    numbers = [5, 0, 7, 2, 6]
    digits = "".join(f"{number:0{bits}b}" for number in numbers)
    digits += "0" * (-len(digits) % 8)
    bytes_ = [int(digits[start : start + 8], 2) for start in range(0, len(digits), 8)]
    assert pack(torch.tensor(numbers), bits).tolist() == bytes_
