"""The dry run: one batch through everything that a recipe says, and nothing written."""

from limbeck.doctor._examine import examine as examine
from limbeck.doctor._findings import Findings as Findings
from limbeck.doctor._prove import Property as Property
from limbeck.doctor._prove import prove as prove

__all__ = ["Findings", "Property", "examine", "prove"]
