"""200 captures that are killed with SIGKILL at random moments, and go on.

python bench/kill.py
"""

import itertools
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from _killing import COST, KINDS, Outcome, Trials
from _results import bar, write

TRIALS = 200


def row(outcomes: list[Outcome]) -> dict:
    kind = outcomes[0].kind
    again = list(itertools.chain.from_iterable(outcome.asked_again for outcome in outcomes))
    moments = Counter(itertools.chain.from_iterable(outcome.moments for outcome in outcomes))
    return {
        "codec": kind.codec,
        "processes": kind.count,
        "trials": len(outcomes),
        "kills": sum(outcome.kills for outcome in outcomes),
        "what there was after a kill": dict(moments.most_common()),
        "samples asked again after a kill": {
            "n": len(again),
            "mean": statistics.mean(again),
            "std": statistics.stdev(again),
            "max": max(again),
            "bound": kind.cost,
        },
        "faults": [fault for outcome in outcomes for fault in outcome.faults],
    }


def main() -> None:
    outcomes: list[list[Outcome]] = []
    with tempfile.TemporaryDirectory() as name:
        for number, kind in enumerate(KINDS):
            trials = Trials(kind, Path(name) / str(number))
            seeds = range(number, TRIALS, len(KINDS))
            outcomes.append([trials.run(seed) for seed in seeds])
    every = list(itertools.chain.from_iterable(outcomes))
    beyond = max(most - each.kind.cost for each in every for most in each.asked_again)
    write(
        "kill",
        [row(each) for each in outcomes],
        [
            bar("trials", len(every), ">=", TRIALS),
            bar("captures killed before their end", sum(each.kills for each in every), ">=", 200),
            bar("openings and captures that failed", sum(len(e.faults) for e in every), "==", 0),
            bar("rows wrong", sum(each.wrong for each in every), "==", 0),
            bar("rows missing", sum(each.missing for each in every), "==", 0),
            bar("rows twice", sum(each.twice for each in every), "==", 0),
            bar("files left over", sum(each.left_over for each in every), "==", 0),
            bar(
                "samples asked again after one kill, beyond the open block and two batches "
                f"({COST}) of each process and what the codec learns from",
                beyond,
                "<=",
                0,
            ),
        ],
    )


if __name__ == "__main__":
    main()
