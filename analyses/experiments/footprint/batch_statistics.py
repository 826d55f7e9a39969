"""Mean activations with and without batch normalisation, and what it asks of a batch: networks at initialisation."""

from typing import Any

import pandas
import torch
from torch import Tensor, nn

from analyses.experiments.footprint.networks import VARIANTS, Architecture, hidden_layers
from analyses.networks.architectures import hidden_activations
from elutheory.moments import gaussian_moments


@torch.no_grad()
def unit_means(architecture: Architecture, images: Tensor, seeds: int) -> pandas.DataFrame:
    """unit_mean_median and mean_share of every variant and seed over these images, one batch in training mode.

    predicted_mean, with batch normalisation: E f(X), X ~ N(0, 1), as its units have net inputs of mean 0, variance 1.
    """
    rows: list[dict[str, Any]] = []
    for variant, (activation, batch_norm) in VARIANTS.items():
        for seed in range(seeds):
            network = _in_mode(architecture.network(variant, seed).to(images.device), training=True)
            hidden = [values.transpose(0, 1).flatten(1) for values in hidden_activations(network, images)]
            means = [values.mean(1) for values in hidden]
            shares = [
                mean.square().sum() / values.square().mean(1).sum() for mean, values in zip(means, hidden, strict=True)
            ]
            found = {"unit_mean_median": torch.cat(means).median(), "mean_share": torch.stack(shares).mean()}
            rows += [_row(variant, quantity, value.item(), seed=seed) for quantity, value in found.items()]
        if batch_norm:
            rows.append(_row(variant, "predicted_mean", float(gaussian_moments(activation, 0.0, 1.0).mean)))
    return pandas.DataFrame(rows)


@torch.no_grad()
def batch_dependence(architecture: Architecture, images: Tensor) -> pandas.DataFrame:
    """|change of the first example's outputs| / |outputs| as the others beside it change, in training and evaluation.

    `images`: the first one, its company, and as many others.
    """
    company = (len(images) - 1) // 2
    batches = images[: 1 + company], torch.cat([images[:1], images[1 + company : 1 + 2 * company]])
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        network = architecture.network(variant, 0).to(images.device)
        for part in ("forward", "evaluation"):
            outputs, others = (_in_mode(network, training=part == "forward")(batch)[0] for batch in batches)
            change = (outputs - others).norm() / outputs.norm()
            rows.append(_row(variant, "batch_dependence", change.item(), part=part))
    return pandas.DataFrame(rows)


def one_example(architecture: Architecture, image: Tensor) -> pandas.DataFrame:
    """Can a step be taken on it? By the whole network, and by a hidden layer's normalisation and activation alone."""
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        network = architecture.network(variant, 0).to(image.device)
        whole = _refusal(network, image[None])
        rows.append(_row(variant, "one_example", float(not whole), reason=whole))
        for hidden in hidden_layers(architecture.shapes(variant), (2, *image.shape)):
            net_inputs = torch.randn(1, *hidden.shape[1:], device=image.device, requires_grad=True)
            reason = _refusal(network[hidden.place], net_inputs)
            found = _row(variant, "one_example", float(not reason), reason=reason)
            rows.append(found | {"layer": hidden.number, "layers": hidden.layers})
    return pandas.DataFrame(rows)


def _refusal(layers: nn.Module, example: Tensor) -> str:
    """Torch's, of forward and backward in training; empty if there is none."""
    try:
        layers.train()(example).sum().backward()
    except ValueError as refusal:
        return str(refusal)
    return ""


def _in_mode(network: nn.Sequential, *, training: bool) -> nn.Sequential:
    """Dropout rests in either."""
    network.train(training)
    for layer in network:
        if isinstance(layer, nn.Dropout):
            layer.eval()
    return network


def _row(variant: str, quantity: str, value: float, **more: Any) -> dict[str, Any]:
    return {"variant": variant, "quantity": quantity, "value": value, **more}
