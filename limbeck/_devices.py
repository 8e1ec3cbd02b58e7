"""Which devices this process has."""

import torch


def only_cpu() -> bool:
    """Whether there is no accelerator.

    Under torchrun, accelerate must be told: else it takes each of several processes on a CPU for
    the only one, and all do the same work.
    """
    return not torch.accelerator.is_available()
