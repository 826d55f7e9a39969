"""Random scores of a small layer, shared by tests of the correction and of the layer records."""

from dataclasses import replace

import torch
from torch import Tensor

from elutheory.fisher import LayerScores

FAN_IN, UNITS, CLASSES = 6, 4, 5


def random_scores(seed: int = 0, examples: int = 60) -> LayerScores:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(examples, CLASSES, generator=generator, dtype=torch.float64).softmax(1)
    deltas = torch.randn(examples, CLASSES, UNITS, generator=generator, dtype=torch.float64)
    incoming = 0.7 + torch.randn(examples, FAN_IN, generator=generator, dtype=torch.float64)
    columns = probabilities.sqrt()[:, :, None] * deltas
    return LayerScores(incoming[:, None, None], columns.movedim(1, 0)[:, :, None])


def gradient_of_labels(scores: LayerScores) -> Tensor:
    """Gradient of the mean cross-entropy for random labels y, up to the size of each score (in F's range)."""
    generator = torch.Generator().manual_seed(9)
    labels = torch.randint(len(scores.deltas), (scores.examples,), generator=generator)
    chosen = scores.deltas[labels, torch.arange(scores.examples)][None]
    return replace(scores, deltas=chosen, kind="empirical").gradient()


def random_gradient(seed: int = 0) -> Tensor:
    return torch.randn(UNITS, FAN_IN + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def changed(scores: LayerScores, *, incoming: Tensor | None = None, deltas: Tensor | None = None) -> LayerScores:
    return replace(
        scores,
        incoming=scores.incoming if incoming is None else incoming,
        deltas=scores.deltas if deltas is None else deltas,
    )


def singular_scores() -> LayerScores:
    """Incoming activation 1 is always zero, 5 is the sum of 2 and 3: rank 4 + 1 of 7."""
    scores = random_scores()
    incoming = scores.incoming.clone()
    incoming[..., 1] = 0.0
    incoming[..., 5] = incoming[..., 2] + incoming[..., 3]
    return changed(scores, incoming=incoming)
