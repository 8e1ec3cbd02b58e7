import pytest
import torch

import limbeck.targets.asking._ask as asking


@pytest.fixture(params=[True, False], ids=["beside", "between"])
def beside(request, monkeypatch):
    """Encoding goes on in a thread beside the teacher, or between its answers."""
    monkeypatch.setattr(
        asking, "_has_a_processor_to_spare", lambda teacher, processes: request.param
    )
    return request.param


class Reusing(torch.nn.Module):
    """Answers 8 samples at the most, each time in the same memory."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.memory = torch.empty(8, 5)

    def forward(self, inputs):
        out = self.memory[: len(inputs)]
        return out.copy_(inputs[:, :1] * torch.arange(5.0) * self.scale)
