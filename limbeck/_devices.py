"""Which devices this process has, and how tensors get there."""

import torch
from torch import Tensor


def only_cpu() -> bool:
    """Whether there is no accelerator.

    Under torchrun, accelerate must be told: else it takes each of several processes on a CPU for
    the only one, and all do the same work.
    """
    return not torch.accelerator.is_available()


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`, of which the host need not wait until it is there.

    A copy to a GPU from memory that may be paged out waits for all that the GPU has yet to do.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
