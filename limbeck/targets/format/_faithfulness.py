"""How near stored rows are to the live ones, in sums that can be added."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Sums over some rows, so that those of two lots of rows can be added."""

    rows: int = 0
    """All of them, of every head."""
    compared: int = 0
    """The measured ones of categorical and binary heads: what follows are sums over these."""
    kl: float = 0.0
    """KL(live || stored) at the stored temperature, in nats; of rows with drawn entries, that of
    their density."""
    agreement: float = 0.0
    """1 for a row whose most probable class is the same; a binary row counts the fraction of
    classes that are on the same side of one half."""
    squared: float = 0.0
    """Sum over classes of the squared difference of two probabilities, drawn entries as they are:
    what the gradient of a cross-entropy is off by, squared."""
    difference: float = 0.0
    """The largest: between two probabilities, drawn entries left out; or two numbers relative to
    the larger of 1 and the live one."""

    def __add__(self, other: "Faithfulness") -> "Faithfulness":
        return Faithfulness(
            rows=self.rows + other.rows,
            compared=self.compared + other.compared,
            kl=self.kl + other.kl,
            agreement=self.agreement + other.agreement,
            squared=self.squared + other.squared,
            difference=max(self.difference, other.difference),
        )

    @property
    def mean_kl(self) -> float | None:
        """Nats per row; None where there is nothing to compare by KL divergence."""
        # Rounding can leave a sum a little under its true bound of 0.
        return max(self.kl, 0.0) / self.compared if self.compared else None

    @property
    def mean_agreement(self) -> float | None:
        """0..1; None where no row has classes."""
        return self.agreement / self.compared if self.compared else None

    @property
    def mean_squared(self) -> float | None:
        """E ||stored - live||^2 per row; None where no row has classes."""
        return self.squared / self.compared if self.compared else None
