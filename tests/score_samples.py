"""Random scores of a small layer, shared by tests of the correction and of the layer records."""

import torch
from torch import Tensor

from elutheory.scores import LayerScores

FAN_IN, UNITS, CLASSES = 6, 4, 5


def random_scores(seed: int = 0, examples: int = 60) -> LayerScores:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(examples, CLASSES, generator=generator, dtype=torch.float64).softmax(1)
    deltas = torch.randn(examples, CLASSES, UNITS, generator=generator, dtype=torch.float64)
    incoming = 0.7 + torch.randn(examples, FAN_IN, generator=generator, dtype=torch.float64)
    return LayerScores(incoming, deltas, probabilities)


def random_labels(scores: LayerScores) -> Tensor:
    return torch.randint(CLASSES, (len(scores.incoming),), generator=torch.Generator().manual_seed(9))


def random_gradient(seed: int = 0) -> Tensor:
    return torch.randn(UNITS, FAN_IN + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def changed(scores: LayerScores, *, incoming: Tensor | None = None, deltas: Tensor | None = None) -> LayerScores:
    return LayerScores(
        scores.incoming if incoming is None else incoming,
        scores.deltas if deltas is None else deltas,
        scores.probabilities,
    )


def singular_scores() -> LayerScores:
    """Incoming activation 1 is always zero, 5 is the sum of 2 and 3: rank 4 + 1 of 7."""
    scores = random_scores()
    incoming = scores.incoming.clone()
    incoming[:, 1] = 0.0
    incoming[:, 5] = incoming[:, 2] + incoming[:, 3]
    return changed(scores, incoming=incoming)
