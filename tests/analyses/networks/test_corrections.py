"""Corrections of a small network's units against per-example gradients by autograd, unit by unit."""

import pytest
import torch
from torch import Tensor, nn

from analyses.data.datasets import Split
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.corrections import UnitCorrections, folded, unit_corrections

DAMPING = 0.03
MANY, FEW = 9, 4  # examples of Fisher matrices: more and fewer than coordinates


def make_network(activation: str, *, batch_norm: bool = False) -> nn.Sequential:
    network = fully_connected((6, 5, 4, 3), activation, batch_norm=batch_norm, dtype=torch.float64)
    initialise(network, 3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


@pytest.fixture(scope="module")
def examples() -> Split:
    generator = torch.Generator().manual_seed(5)
    inputs = 0.5 + torch.randn(12, 6, generator=generator, dtype=torch.float64)
    return Split(inputs, torch.arange(12) % 3)


def reference(
    plain: nn.Sequential, examples: Split, place: int, fisher_examples: int, *, centred: bool
) -> dict[str, Tensor]:
    """From ∂ ln p(y | x)/∂(w0, w) of every example and class y, one backward pass each; F = E_x E_y[score scoreᵀ].

    `centred`: the derivatives for the incoming activations less their mean, ∂/∂w − mean ∂/∂w0.
    """
    layer = plain[place]
    assert isinstance(layer, nn.Linear)
    incoming = plain[:place](examples.inputs).detach()
    mean = incoming.mean(0)
    origin = mean if centred else torch.zeros_like(mean)

    def score(example: int, label: int) -> Tensor:
        logs = plain(examples.inputs[example : example + 1]).log_softmax(1)
        bias, weight = torch.autograd.grad(logs[0, label], [layer.bias, layer.weight])
        return torch.cat([bias[:, None], weight - bias[:, None] * origin], dim=1)

    gradient = -torch.stack([score(n, int(label)) for n, label in enumerate(examples.targets)]).mean(0)
    found: dict[str, list[Tensor]] = {"cosine": [], "shift_with": [], "shift_without": [], "share_with": []}
    for unit in range(len(gradient)):
        fisher = torch.zeros(len(mean) + 1, len(mean) + 1, dtype=torch.float64)
        for example in range(fisher_examples):
            probabilities = plain(examples.inputs[example : example + 1]).softmax(1)[0].detach()
            for label, probability in enumerate(probabilities):
                one = score(example, label)[unit]
                fisher += probability * torch.outer(one, one) / fisher_examples
        fisher += DAMPING * fisher.diagonal().mean() * torch.eye(len(fisher))
        step = torch.linalg.inv(fisher) @ gradient[unit]
        effects = (incoming - origin) @ step[1:] + step[0]
        uncoupled = torch.linalg.inv(fisher[1:, 1:]) @ gradient[unit, 1:]
        found["cosine"].append(step @ gradient[unit] / step.norm() / gradient[unit].norm())
        found["shift_with"].append(effects.mean())
        found["shift_without"].append((mean - origin) @ uncoupled + gradient[unit, 0] / fisher[0, 0])
        found["share_with"].append(effects.mean() ** 2 / effects.square().mean())
    return {name: torch.stack(values) for name, values in found.items()}


def check(found: UnitCorrections, expected: dict[str, Tensor]) -> None:
    for name, values in expected.items():
        torch.testing.assert_close(getattr(found, name), values, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("fisher_examples", [MANY, FEW])
def test_corrections_are_those_of_gradients_one_by_one(examples: Split, fisher_examples: int) -> None:
    network = make_network("elu")
    layers = unit_corrections(network, examples, fisher_examples, DAMPING)
    assert len(layers) == 2
    for layer, place in zip(layers, (0, 2), strict=True):
        check(layer, reference(network, examples, place, fisher_examples, centred=False))
    for layer, place in zip(
        unit_corrections(network, examples, fisher_examples, DAMPING, centred=True), (0, 2), strict=True
    ):
        check(layer, reference(network, examples, place, fisher_examples, centred=True))
    incoming = network[:2](examples.inputs).detach()
    expected = incoming.mean(0).square().sum() / incoming.square().sum(1).mean()
    assert layers[1].mean_share == pytest.approx(float(expected), rel=1e-12)


def test_batch_normalisation_is_a_linear_unit_of_centred_activations(examples: Split) -> None:
    network = make_network("tanh", batch_norm=True)
    plain = folded(network, examples.inputs)
    torch.testing.assert_close(plain(examples.inputs), network.train()(examples.inputs), rtol=1e-12, atol=1e-12)
    norm = network[4]
    assert isinstance(norm, nn.BatchNorm1d)
    torch.testing.assert_close(plain[:3](examples.inputs).mean(0), norm.bias, rtol=1e-12, atol=1e-12)
    layers = unit_corrections(network, examples, MANY, DAMPING)
    for layer, place in zip(layers, (0, 2), strict=True):
        check(layer, reference(plain, examples, place, MANY, centred=True))


def test_dead_units_have_no_numbers_and_leave_the_others_as_they_are(examples: Split) -> None:
    network = make_network("relu")
    whole = unit_corrections(network, examples, MANY, DAMPING)
    layer = network[2]
    assert isinstance(layer, nn.Linear)
    output = network[4]
    assert isinstance(output, nn.Linear)
    with torch.no_grad():
        output.weight[:, 1] = 0.0  # unit 1 of layer 2 has no influence
    cut = unit_corrections(network, examples, MANY, DAMPING)
    assert cut[1].cosine.isnan().tolist() == [index == 1 or bool(whole[1].cosine[index].isnan()) for index in range(4)]
    assert cut[1].removed[1].isnan()
    with torch.no_grad():
        layer.bias.fill_(-1e3)
    assert all(values.isnan().all() for values in (unit_corrections(network, examples, 9, DAMPING)[1].cosine,))
