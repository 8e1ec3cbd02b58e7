"""Numbers as people read them. None is always "-"."""

import math

from limbeck.results import Metric, Score

NOTHING = "-"
_NBSP = "\N{NO-BREAK SPACE}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
_FRACTIONS = ("accuracy", "exact_match", "f1", "precision", "recall", "error_rate")


def count(number: float | None) -> str:
    """Three digits and a decimal prefix: 12345 -> "12.3 k"."""
    return NOTHING if number is None else _prefixed(number, ("", "k", "M", "G", "T", "P"))


def grouped(number: int) -> str:
    """A count to the last digit: 12345 -> "12 345"."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def size(number: float | None) -> str:
    """Bytes, in powers of 1000: 45100 -> "45.1 KB"."""
    return NOTHING if number is None else _prefixed(number, ("B", "KB", "MB", "GB", "TB"))


def seconds(number: float | None) -> str:
    """A duration: "0.12 ms", "4.2 s", "3 min 05 s", "2 h 10 min"."""
    if number is None:
        return NOTHING
    if number < 1:
        return f"{digits(number * 1e3)}{_NBSP}ms"
    if number < 59.95:
        return f"{number:.1f}{_NBSP}s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def milliseconds(number: float | None) -> str:
    """A latency: 0.1234 -> "0.12 ms", 12.34 -> "12.3 ms"."""
    if number is None:
        return NOTHING
    if number >= 1e3:
        return seconds(number / 1e3)
    return f"{digits(number, 2 if number < 1 else 3)}{_NBSP}ms"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """0.971 -> "97.1 %"."""
    return NOTHING if fraction is None else f"{_signed(fraction * 100, decimals)}{_NBSP}%"


def digits(number: float | None, significant: int = 3) -> str:
    """Plain decimals with so many significant digits: 0.0123, 4.57, 1234."""
    if number is None:
        return NOTHING
    if number == 0:
        return "0"
    if abs(number) < 1e-4:
        mantissa, power = f"{number:.{significant - 1}e}".split("e")
        raised = str(int(power)).translate(_RAISED)
        return f"{mantissa} {TIMES} 10{raised}".replace("-", MINUS).replace(" ", _NBSP)
    return _signed(number, _decimals(number, significant))


def is_fraction(metric: Metric) -> bool:
    """True when scores of this metric lie in 0..1 and are shown in percent."""
    return metric.name.endswith(_FRACTIONS)


def metric_name(metric: Metric) -> str:
    """The metric's name in words: "cross entropy"."""
    return metric.name.replace("_", " ")


def direction(metric: Metric) -> str:
    """Which way is better, in words."""
    return "higher is better" if metric.higher_is_better else "lower is better"


def score(result: Score, metric: Metric) -> str:
    """Mean and spread: "97.1 ± 0.3 %", "1.512 ± 0.012"; without a spread, the mean."""
    if is_fraction(metric):
        spread = "" if result.std is None else f" ±{_NBSP}{result.std * 100:.1f}"
        return f"{result.mean * 100:.1f}{spread}{_NBSP}%"
    if not result.std:
        return value(result.mean, metric)
    decimals = max(_decimals(result.std, 2), 0)
    return f"{_signed(result.mean, decimals)} ±{_NBSP}{result.std:.{decimals}f}"


def value(number: float | None, metric: Metric) -> str:
    """One score without a spread."""
    return percent(number) if is_fraction(metric) else digits(number, 4)


def gain(number: float, metric: Metric) -> str:
    """A difference of two scores with its sign: "+1.90 points"; for plain numbers "+0.021"."""
    text = f"{_signed(number * 100, 2)} points" if is_fraction(metric) else digits(number)
    return f"+{text}" if number > 0 else text


def interval(bounds: tuple[float, float] | None, metric: Metric) -> str:
    """A confidence interval in the unit of `gain`: "1.20 to 2.61"."""
    if bounds is None:
        return NOTHING
    if is_fraction(metric):
        return " to ".join(_signed(bound * 100, 2) for bound in bounds)
    decimals = _decimals(max(map(abs, bounds)), 3)
    return " to ".join(_signed(bound, decimals) for bound in bounds)


def counted(number: int, thing: str) -> str:
    """So many of a thing: "1 shard", "2 shards"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def visible(words: str) -> str:
    """A class's name; quoted where it is white space alone, as a character model has."""
    return words if words.strip() else repr(words)


def times(larger: float | None, smaller: float | None, word: str) -> str:
    """How much the second is better: "12x smaller"; empty if it is not, or one is unknown."""
    if not larger or not smaller or larger / smaller < 1.05:
        return ""
    ratio = larger / smaller
    return f"{ratio:.{1 if ratio < 10 else 0}f}{TIMES} {word}"


def _prefixed(number: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(number) >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    whole = float(number).is_integer()
    text = f"{number:.0f}" if whole else digits(number)
    return f"{text}{_NBSP}{units[power]}" if units[power] else text


def _decimals(number: float, significant: int) -> int:
    """Decimals that show so many significant digits, at least 0."""
    if number == 0:
        return significant - 1
    rounded = float(f"{abs(number):.{significant - 1}e}")  # 999.6 has four digits before the point
    return max(0, significant - 1 - math.floor(math.log10(rounded)))


def _signed(number: float, decimals: int) -> str:
    text = f"{number:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)
