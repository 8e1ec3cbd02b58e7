"""Bytes and seconds as people read them."""


def human_bytes(number: float) -> str:
    """In powers of 1024: 1536 -> "1.5 KiB"."""
    return _in_units(number, (("B", 1024), ("KiB", 1024), ("MiB", 1024), ("GiB", 1024)), "TiB")


def human_seconds(number: float) -> str:
    """0.0021 -> "2.1 ms"; 75 -> "1.25 min"."""
    units = (("ms", 1000), ("s", 60), ("min", 60), ("h", 24))
    return _in_units(number * 1e3, units, "days")


def _in_units(number: float, units: tuple[tuple[str, int], ...], largest: str) -> str:
    """Three digits, in the first unit of which there are fewer than make the next one."""
    for unit, length in units:
        if float(_three_digits(number)) < length:
            return f"{_three_digits(number)} {unit}"
        number /= length
    return f"{_three_digits(number)} {largest}"


def _three_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
