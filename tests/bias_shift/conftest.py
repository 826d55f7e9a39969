"""The classifiers of the default run, trained and measured once."""

import pytest

from elutheory.bias_shift.digits import DigitsExperiment, NetworkRecord, measure_digits


@pytest.fixture(scope="session")
def default_networks() -> dict[str, NetworkRecord]:
    """What `python -m elutheory.bias_shift` measures, by the name of the activation function."""
    return {name: measure_digits(name, DigitsExperiment()) for name in ("elu", "relu")}
