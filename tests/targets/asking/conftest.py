import pytest

import limbeck.targets.asking._ask as asking


@pytest.fixture(params=[True, False], ids=["beside", "between"])
def beside(request, monkeypatch):
    """Encoding goes on in a thread beside the teacher, or between its answers."""
    monkeypatch.setattr(
        asking, "_has_a_processor_to_spare", lambda teacher, processes: request.param
    )
    return request.param
