"""Every entry point on a CUDA device for real: where the results are, of what dtype, and the CPU's values."""

from collections.abc import Iterator

import pytest
import torch

from tests.devices.entry_points import ENTRY_POINTS, Place, differences

TOLERANCES = {torch.float64: 1e-8, torch.float32: 2e-3}
"""Of values, relative to the largest; the cases' condition numbers stay below 1e4."""


@pytest.fixture
def full_precision() -> Iterator[None]:
    """float32 convolutions in float32: cuDNN takes TF32 otherwise, of 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("full_precision")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_as_on_the_cpu(name: str, dtype: torch.dtype) -> None:
    case, place = ENTRY_POINTS[name], Place(torch.device("cuda", torch.cuda.current_device()), dtype)
    expected = case.run(Place(torch.device("cpu"), dtype))
    assert differences(case.run(place), expected, case.results_of(place), TOLERANCES[dtype]) == []
