"""A step that is shortened until the divergence it makes, measured, keeps a limit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elutheory.errors import InputError

AIM = 0.8
"""What a step is shortened to, as a share of the limit.

Divergences grow as the square of a step until third orders count: aimed at the limit itself every other step would have
to be taken a second time, aimed at 0.8 of it a step is a tenth shorter. Guarded by
`test_the_divergence_measured_keeps_the_limit`.
"""

_TRIALS = 40  # from the second on a step is halved at least: the last is 2⁻³⁸ of the first
_FORGETTING = 0.25  # by which the ratio falls at most from one step to the next


@dataclass(frozen=True, eq=False)
class Step:
    """Changes of parameters, of which any share can be taken."""

    parameters: Sequence[Tensor]
    before: Sequence[Tensor]
    changes: Sequence[Tensor]

    @classmethod
    def of(cls, parameters: Sequence[Tensor], changes: Sequence[Tensor]) -> "Step":
        """From where the parameters are now."""
        return cls(parameters, [parameter.clone() for parameter in parameters], changes)

    def take(self, share: Tensor | float) -> None:
        """Puts the parameters where `share` of the changes takes them."""
        for parameter, before, change in zip(self.parameters, self.before, self.changes, strict=True):
            part = torch.as_tensor(share).to(change.device, change.dtype)
            parameter.copy_(torch.addcmul(before, change, part))

    def undo(self) -> None:
        """Puts the parameters where they were."""
        for parameter, before in zip(self.parameters, self.before, strict=True):
            parameter.copy_(before)


class Taken(NamedTuple):
    """`share` of the step was taken; `ratio`: of the divergence measured to the one expected; `failed`: which of the
    conditions held, so that nothing was taken."""

    share: float
    ratio: float
    failed: list[bool]


def take_limited(
    step: Step,
    expected: tuple[Tensor, Tensor],
    limit: float,
    ratio: float,
    measure: Callable[[], Tensor],
    conditions: Sequence[Tensor],
) -> Taken:
    """Takes as much of a step as keeps `limit`; a device is waited for once a trial.

    - `expected`: two quadratic forms, of which the first must keep the limit as well, and the second times `ratio` is
      a guess of the divergence; `measure` says what it is now;
    - `conditions`: if one of them is true, the step was not what it should have been.

    Raises InputError, the parameters being as they were, for a step that is not finite, and if the limit is not kept
    however short the step is.
    """
    binding, guess = expected
    share = (AIM * limit / torch.maximum(binding, ratio * guess)).sqrt().clamp(max=1.0).nan_to_num(1.0, 1.0)
    share = torch.where(binding.isfinite() & guess.isfinite(), share, 0.0)
    try:
        return _taken(step, share, guess, limit, ratio, measure, conditions)
    except BaseException:
        step.undo()
        raise


def _taken(
    step: Step,
    share: Tensor,
    guess: Tensor,
    limit: float,
    ratio: float,
    measure: Callable[[], Tensor],
    conditions: Sequence[Tensor],
) -> Taken:
    """From `share` on down."""
    measured = math.nan
    for trial in range(_TRIALS):
        step.take(share)
        found = [measure(), guess, share, *conditions]
        measured, guessed, taken, *failed = torch.stack([one.to(share.device, share.dtype) for one in found]).tolist()
        if any(failed):
            step.undo()
            return Taken(0.0, ratio, [bool(one) for one in failed])
        if not math.isfinite(guessed):
            raise InputError(
                "the step is not finite (its gradient or its Fisher matrices hold NaN or infinity, or are too large); "
                "the parameters stay as they were."
            )
        if measured <= limit:
            form = taken**2 * guessed
            return Taken(taken, max(measured / form, _FORGETTING * ratio) if form > 0 else ratio, [])
        shorter = math.sqrt(AIM * limit / measured) if math.isfinite(measured) else 0.1
        share = share * (min(0.5, shorter) if trial else shorter)
    raise InputError(
        f"the model's predictions on the batch change by {measured:.3g} nats per example when its forward pass is run "
        "again, however short the step (random numbers that are not torch's, or a state of its own?); max_kl cannot be "
        "kept, give max_kl=None."
    )
