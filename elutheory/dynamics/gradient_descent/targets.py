"""What is learned, from the caller's targets: classes or values, checked, one column an input."""

from typing import Any

import numpy

from elutheory.dynamics.gradient_descent.descent import Task
from elutheory.errors import InputError
from elutheory.numerics.arguments import count
from elutheory.numerics.arrays import is_torch

_SUM_TO_ONE = 1e-6  # distributions in float32 add to 1 within this


def task_of(targets: Any, inputs: int, loss: str, classes: Any, trained: numpy.ndarray) -> Task:
    """The task of these targets (see `predict_training`); raises InputError for targets that are none."""
    values = targets.detach().cpu().numpy() if is_torch(targets) else numpy.asarray(targets)
    if values.ndim not in (1, 2) or len(values) != inputs:
        raise InputError(
            f"targets have shape {tuple(values.shape)} for {inputs} inputs; (inputs,) or (inputs, classes) is needed."
        )
    tested = numpy.setdiff1d(numpy.arange(inputs), trained)
    if values.dtype.kind in "iu" and values.ndim == 1:
        labels = values.astype(numpy.int64)
        number = int(labels.max()) + 1 if classes is None else count("classes", classes)
        if labels.min() < 0 or labels.max() >= number:
            raise InputError(f"targets are classes from 0 to {number - 1}, not {int(labels.min())} to {labels.max()}.")
        return Task(numpy.eye(number)[labels].T.copy(), labels, trained, tested)
    if values.dtype.kind not in "iuf" or not numpy.isfinite(values).all():
        raise InputError(f"targets must be integers or finite floats, not {values.dtype} with what is none.")
    if classes is not None:
        raise InputError("classes is for integer targets; floats have a column per class.")
    values = values.astype(numpy.float64)
    if loss == "cross_entropy":
        if values.ndim == 1:
            raise InputError("cross_entropy takes integer classes (inputs,), or distributions (inputs, classes).")
        if values.min() < 0 or numpy.abs(values.sum(1) - 1).max() > _SUM_TO_ONE:
            raise InputError("each row of targets must be a distribution for cross_entropy: >= 0, with sum 1.")
        return Task(values.T.copy(), values.argmax(1), trained, tested)
    return Task(values.reshape(inputs, -1).T.copy(), None, trained, tested)
