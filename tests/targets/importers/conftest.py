"""What was asked about, and what the other tool kept of the answers."""

import numpy as np
import pytest
import torch

from limbeck.data import ArraySamples

WORDS, TOKENS, KEPT = 70000, 6, 5


@pytest.fixture
def texts():
    """Samples of token ids, `(12, 6)`."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, WORDS, (12, TOKENS), generator=generator)
    return ArraySamples({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, {})


@pytest.fixture
def kept():
    """Ids and falling log-probabilities, `(12, 6, 5)`, of a large vocabulary."""
    rng = np.random.default_rng(1)
    ids = np.stack([rng.choice(WORDS, KEPT, replace=False) for _ in range(12 * TOKENS)])
    logs = np.log(np.sort(rng.dirichlet(np.ones(KEPT + 3), 12 * TOKENS))[:, ::-1][:, :KEPT])
    return ids.reshape(12, TOKENS, KEPT), logs.reshape(12, TOKENS, KEPT)


@pytest.fixture
def images():
    return ArraySamples(torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(5)), {})


@pytest.fixture
def vision():
    rng = np.random.default_rng(2)
    ids = np.stack([rng.choice(30, 4, replace=False) for _ in range(20)])
    return ids, np.sort(rng.dirichlet(np.ones(9), 20))[:, ::-1][:, :4]
