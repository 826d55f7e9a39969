"""The experiment on real digits: what is known of the data, determinism, the theorems on trained networks."""

import math
from dataclasses import replace

import pytest
import torch

from elutheory.activations import activation
from elutheory.bias_shift.digits import DigitsExperiment, NetworkRecord, classifier, linear_name, measure_digits
from elutheory.errors import InputError
from elutheory.fisher import unit_fisher
from elutheory.models.data import load_digits

SMALL = DigitsExperiment(hidden=(8,), epochs=1)


def test_digits() -> None:
    pixels, labels = load_digits()
    assert (pixels.shape, pixels.dtype, labels.shape, labels.dtype) == ((1797, 64), torch.float64, (1797,), torch.int64)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert set(labels.tolist()) == set(range(10))
    assert (pixels.max(0).values == 0).nonzero()[:, 0].tolist() == [0, 32, 39]  # the three pixels that never vary


@pytest.mark.parametrize("name", ["elu", "relu"])
def test_default_run(name: str, default_networks: dict[str, NetworkRecord]) -> None:
    record = default_networks[name]
    assert record.activation.startswith(name)
    assert record.training_accuracy > 0.95
    assert record.training_loss < 0.15
    first, second = record.layers
    assert ((first.layer, first.units, first.fan_in), (second.layer, second.units, second.fan_in)) == (
        ("1", 32, 64),
        ("2", 32, 32),
    )
    assert first.rank_largest == 65 - 3  # less the three pixels that never vary
    assert first.singular_units == 32
    assert set(first.solutions) <= {"on the range", "bias dependent"}
    for layer in record.layers:
        assert layer.passed
        assert layer.largest_deviation < 1e-8  # flat, whatever the condition number allows
        assert layer.s_times_c > 10  # non-zero means under q matter on real data
    if name == "elu":
        assert second.solutions == {"direct": 32}


def test_deterministic_and_without_touching_global_random_numbers() -> None:
    state = torch.random.get_rng_state()
    first = measure_digits("elu", SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert measure_digits("elu", SMALL) == first
    assert measure_digits("elu", replace(SMALL, seed=1)).training_loss != first.training_loss


def test_initialisation() -> None:
    models = [classifier(activation(name), (64, 400, 10), torch.Generator().manual_seed(0)) for name in ("elu", "relu")]
    weight, bias = models[0][0].weight, models[0][0].bias
    # Standard error of a variance over 25,600 normal weights: sqrt(2 / 25600) = 0.9 %; five of them.
    assert weight.var().item() == pytest.approx(2 / 64, rel=0.045)
    assert abs(weight.mean().item()) < 5 * math.sqrt(2 / 64 / 25600)
    assert (bias == 0).all()
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_untrained_network_is_measured_as_it_is() -> None:
    record = measure_digits("relu", replace(SMALL, epochs=0, layers=(2, 1)))
    assert [layer.layer for layer in record.layers] == ["2", "1"]
    pixels, labels = load_digits()
    model = classifier(activation("relu"), (64, 8, 10), torch.Generator().manual_seed(0))
    assert record.training_loss == torch.nn.functional.cross_entropy(model(pixels), labels).item()
    fisher = unit_fisher(model, pixels, linear_name(2))
    assert record.layers[0].rank_largest == max(fisher.rank)
    assert record.layers[0].mean_under_p == fisher.mean_under_p.mean().item()


def test_damping() -> None:
    record = measure_digits("relu", replace(SMALL, damping=1e-3))
    assert record.layers[0].solutions == {"damped": 8}
    assert record.layers[0].passed
    with pytest.raises(InputError, match="with damping 0 is singular for 8 of 8 units"):
        measure_digits("relu", replace(SMALL, damping=0.0))


def test_diverged_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"training diverged: .* learning rate 1e\+200; choose a lower one"):
        measure_digits("relu", replace(SMALL, learning_rate=1e200))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": ()}, r"hidden is \(\)"),
        ({"hidden": (8, 0)}, r"hidden is \(8, 0\)"),
        ({"hidden": (2000, 2000)}, r"the Fisher matrices of layer 2 \(2000 units, fan-in 2000\) take 119.3 GiB; 1 GiB"),
        ({"epochs": -1}, "epochs is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"layers": (4,)}, "there is no layer 4; the hidden layers are 1 to 2, the output layer is 3"),
        ({"layers": (0,)}, "there is no layer 0"),
        ({"layers": ()}, "layers is empty"),
        ({"damping": -1.0}, "damping is -1.0"),
        ({"damping": math.inf}, "damping is inf"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_outside_their_domain_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DigitsExperiment(**settings)
