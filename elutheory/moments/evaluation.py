"""The six Gaussian moments of arrays of one shape: closed form or quadrature, in chunks, limits where they apply."""

from typing import TYPE_CHECKING, Any

import numpy
from jaxtyping import Float

from elutheory.errors import InputError
from elutheory.moments.closed_forms import closed_form
from elutheory.moments.quadrature import integrals
from elutheory.numerics.arrays import Array, is_torch, library, on_host, place_like

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

# Short enough that temporaries stay in the processor's cache, long enough to outweigh the cost of a call.
_CHUNK = {"numpy": 32768, "torch": 131072}
_TOLERANCE = 1e-8
_REACH = 38.5  # standard deviations: the normal density is subnormal beyond


def evaluate(
    f: "Activation", mean: Float[Array, "*shape"], std: Float[Array, "*shape"]
) -> tuple[tuple[Float[Array, "*shape"], ...], float | None]:
    """The six moments for valid arrays of one shape and dtype, and the error estimate (None: closed form)."""
    form = closed_form(f)
    if form is None:
        return evaluate_by_quadrature(f, mean, std)
    xp = library(mean)
    shape = mean.shape
    mean, std = mean.reshape(-1), std.reshape(-1)
    special = (std == 0) | ~xp.isfinite(mean)
    any_special = bool(special.any())
    safe_mean, safe_std = mean, std
    if any_special:
        safe_mean, safe_std = xp.where(special, 0.0 * std, mean), xp.where(special, 0.0 * std + 1.0, std)
    size = mean.shape[0]
    if size <= _CHUNK[xp.__name__] and not any_special:
        with numpy.errstate(all="ignore"):
            return tuple(value.reshape(shape) for value in form.moments(mean, std)), None
    outputs = tuple(xp.empty_like(mean) for _ in range(6))
    step = _CHUNK[xp.__name__]
    if xp is not numpy and mean.device.type != "cpu":
        step = max(size, 1)
    # Rounding to 0 or to infinity is the right result, not news; masked branches may do anything.
    with numpy.errstate(all="ignore"):
        for start in range(0, size, step):
            chunk = slice(start, start + step)
            values = form.moments(safe_mean[chunk], safe_std[chunk])
            for output, value in zip(outputs, values, strict=True):
                output[chunk] = value
        if any_special:
            for output, value in zip(outputs, limits(f, mean[special], std[special]), strict=True):
                output[special] = value
    return tuple(output.reshape(shape) for output in outputs), None


def evaluate_by_quadrature(
    f: "Activation", mean: Float[Array, "*shape"], std: Float[Array, "*shape"]
) -> tuple[tuple[Float[Array, "*shape"], ...], float]:
    """As `evaluate`, for an activation without closed form: in float64 on the host, rounded to the dtype at last."""
    shape = mean.shape
    flat_mean, flat_std = on_host(mean).reshape(-1), on_host(std).reshape(-1)
    special = (flat_std == 0) | ~numpy.isfinite(flat_mean)
    outputs = numpy.empty((6, flat_mean.size))
    error = 0.0
    usual = numpy.flatnonzero(~special)
    if usual.size:
        result = integrals(f, flat_mean[usual], flat_std[usual])
        _refuse_inaccurate(f, flat_mean[usual], flat_std[usual], result.scaled_errors.max(0))
        outputs[:, usual], error = result.moments, float(result.errors.max())
    with numpy.errstate(all="ignore"):
        if special.any():
            outputs[:, special] = limits(f, flat_mean[special], flat_std[special])
        rounding = 2.0 ** -(24 if mean.dtype.itemsize == 4 else 53)
        if is_torch(mean):
            return tuple(place_like(output.reshape(shape), mean) for output in outputs), error + rounding
        return tuple(output.reshape(shape).astype(mean.dtype) for output in outputs), error + rounding


def limits(
    f: "Activation", mean: Float[Array, " points"], std: Float[Array, " points"]
) -> tuple[Float[Array, " points"], ...]:
    """std = 0 or mean = ±inf: f is the line through (mean, f(mean)) with its slope there."""
    xp = library(mean)
    value, slope = f(mean), f.derivative(mean)
    spread = slope * std
    variance = spread * spread
    log_slope = xp.where(slope >= 0, xp.log(xp.where(slope >= 0, slope, 1.0 + 0.0 * slope)), slope * float("nan"))
    return value, value * value + variance, variance, slope, slope * slope, log_slope


def _refuse_inaccurate(f: "Activation", mean: Any, std: Any, error: Any) -> None:
    """Raises InputError where an error estimate exceeds the tolerance."""
    worst = int(error.argmax())
    if not error[worst] <= _TOLERANCE:
        if not numpy.isfinite(error[worst]):
            refuse_overflow(f, f"the moments of {f}", ((float(mean[worst]), float(std[worst])),))
        raise InputError(
            f"quadrature finds the moments of {f} at mean = {float(mean[worst]):.6g}, std = {float(std[worst]):.6g} "
            f"only to about {float(error[worst]):.0e}; {_TOLERANCE:.0e} is required."
        )


def refuse_overflow(f: "Activation", what: str, variables: tuple[tuple[float, float], ...]) -> None:
    """Raises InputError where f or f' overflows, or its square, within reach of N(mean, std²); each is (mean, std)."""
    for mean, std in variables:
        x = mean + std * numpy.linspace(-_REACH, _REACH, 155)
        with numpy.errstate(all="ignore"):
            squares = numpy.stack([g(x) ** 2 for g in (f, f.derivative)])
        large = numpy.flatnonzero(numpy.isinf(squares).any(0))
        if large.size:
            nearest = x[large[numpy.argmin(numpy.abs(x[large] - mean))]]
            raise InputError(
                f"{what} at mean = {mean:.6g}, std = {std:.6g} are beyond double precision: f² or f'² exceeds 1.8e308 "
                f"at x = {nearest:.3g}, within {_REACH:.3g} standard deviations of the mean."
            )


def refuse_invalid(mean: Float[Array, "*shape"], std: Float[Array, "*shape"]) -> None:
    """Raises InputError naming the first mean that is nan, or std that is negative, infinite or nan."""
    xp = library(mean)
    if bool(((std >= 0) & xp.isfinite(std) & ~xp.isnan(mean)).all()):
        return
    for name, wrong, allowed in (
        ("mean", xp.isnan(mean), "a number or ±inf"),
        ("std", ~((std >= 0) & xp.isfinite(std)), "finite and >= 0"),
    ):
        if wrong.any():
            values = mean if name == "mean" else std
            first = float(values[wrong].reshape(-1)[0])
            where = f" (first along axis 0 at {int(_first_index(wrong))})" if values.ndim else ""
            raise InputError(f"{name} must be {allowed}, not {first}{where}.")


def _first_index(wrong: Any) -> Any:
    """Along axis 0."""
    rows = wrong.reshape(wrong.shape[0], -1)
    return [bool(row.any()) for row in rows].index(True)
