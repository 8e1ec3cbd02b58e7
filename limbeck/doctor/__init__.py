"""The dry run: one batch through everything that a recipe says, and nothing written."""

from limbeck.doctor._examine import examine as examine
from limbeck.doctor._findings import Findings as Findings

__all__ = ["Findings", "examine"]
