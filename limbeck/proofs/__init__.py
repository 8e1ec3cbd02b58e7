"""Losses that prove themselves: properties, measured on any loss, with the smallest counterexample.

Popular defaults fail here: KL on raw logits, a missing logarithm, arguments that are swapped, a
mean over classes, a dropped T². A run that uses them finishes all the same, and teaches little.
"""

from limbeck.proofs._findings import Proof as Proof
from limbeck.proofs._probe import Property as Property
from limbeck.proofs._prove import prove as prove
from limbeck.proofs._rows import Distance as Distance
from limbeck.proofs._rows import prove_rows as prove_rows

__all__ = ["Distance", "Proof", "Property", "prove", "prove_rows"]
