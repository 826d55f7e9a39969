"""Activation functions: one symbolic definition each, evaluated by float, numpy, torch, mpmath and LaTeX.

At a kink the derivative follows torch: relu'(0) = 0, leaky_relu'(0) = negative_slope, elu'(0) = alpha, celu'(0) = 1,
selu'(0) = scale·alpha, hard_tanh'(±1) = 0, relu6'(0) = relu6'(6) = 0, shifted_relu'(−1) = 0, prelu'(0) =
negative_slope, hard_sigmoid'(±3) = 0, hard_swish'(−3) = 0, hard_swish'(3) = 1. The conditions of each Piecewise
definition say so: a breakpoint belongs to one piece, and the derivative is that piece's.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from elutheory.activations.definitions import DEFINITIONS
from elutheory.errors import InputError

if TYPE_CHECKING:
    import sympy
    import torch

    import elutheory.activations.pieces


def activation_names() -> tuple[str, ...]:
    """The names that `activation` knows.

    >>> import elutheory as et
    >>> et.activation_names()[:4]
    ('identity', 'relu', 'leaky_relu', 'shifted_relu')
    """
    return tuple(DEFINITIONS)


def activation(name: str, **parameters: Any) -> "Activation":
    """The registered activation `name`, e.g. `activation("elu", alpha=2.0)`; "swish" is silu, "sigmoid" is logistic.

    Parameters are finite real numbers: alpha > 0 (elu, celu; default 1), negative_slope >= 0 (leaky_relu; default
    0.01), negative_slope (prelu; default 0.25). A positive sympy symbol is allowed too; the activation is then symbolic
    only. Raises InputError for an unknown name, an unknown parameter or a value outside its domain.

    >>> import elutheory as et
    >>> elu = et.activation("elu", alpha=2.0)
    >>> elu, elu(0.5), round(elu(-1.0), 6)
    (elu(alpha=2.0), 0.5, -1.264241)
    """
    # sympy is not loaded before an activation is asked for
    from elutheory.activations.symbolic import registry_name  # noqa: PLC0415

    name = registry_name(name)
    if all(isinstance(value, Real) for value in parameters.values()):
        return _kept(name, **parameters)
    return _registered(name, **parameters)


def _registered(name: str, **parameters: Any) -> "Activation":
    from elutheory.activations.symbolic import registered_expression  # noqa: PLC0415 (loads sympy)

    return Activation(name, *registered_expression(name, parameters))


# typed: True and 1 are equal, and one of them is refused
_kept = lru_cache(maxsize=256, typed=True)(_registered)


def as_activation(activation_or_name: Any) -> "Activation":
    """An Activation as it is; a registry name with its default parameters; a torch module that applies one.

    Raises InputError for anything else, and for a module that applies no activation function of the registry.
    """
    if isinstance(activation_or_name, Activation):
        return activation_or_name
    if isinstance(activation_or_name, str):
        return activation(activation_or_name)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(activation_or_name, torch.nn.Module):
        # by its name: recognition, which needs torch, is made of this module's activations
        return import_module("elutheory.activations.recognition").activation_of_module(activation_or_name)
    raise InputError(
        "expected an Activation or a registry name, or a module that applies one, not "
        f"{type(activation_or_name).__name__}."
    )


@dataclass(frozen=True, repr=False)
class Activation:
    """An activation function R → R; build one with `activation`, `from_expression` or `from_text`.

    `expression` is the one definition, a sympy expression in the real `symbol` x. A call, and `derivative`, take a
    float, int, numpy array or scalar, torch tensor or mpmath.mpf, and give back the same kind, shape, dtype and
    device; integers become float64 (torch: the default dtype). NaN gives NaN, ±inf the limit. torch results are
    differentiable to any order, in backward and forward mode and under `torch.func`, by derivatives that keep their
    digits in saturation.

    >>> import elutheory as et
    >>> import torch
    >>> ramp = et.Activation.from_text("where(x > 1, 1, where(x > -1, x, -1))", name="ramp")
    >>> ramp(0.25), ramp.derivative(3.0), ramp.breakpoints
    (0.25, 0.0, (-1, 1))
    >>> ramp(torch.tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """

    name: str
    parameters: tuple[tuple[str, Any], ...]
    expression: "sympy.Expr"
    symbol: "sympy.Symbol"

    @classmethod
    def from_expression(
        cls, expression: "sympy.Expr", symbol: "sympy.Symbol | None" = None, name: str | None = None
    ) -> "Activation":
        """An activation from a sympy expression in one symbol, finite and real on the whole line.

        Allowed are + − * / **, exp, log, sqrt, sin, cos, atan, asinh, sinh, cosh, tanh, erf, erfc, Abs, sign, Max, Min
        and Piecewise, with comparisons of polynomials. At a breakpoint a Piecewise follows its conditions in order;
        Max, Min and Abs take the derivative from the left. Floats are read as the decimals they print as. Digits
        lost to cancellation in an expression are yours, but for the forms that `elutheory.activations.stable_forms`
        knows.
        With `symbol` given, other positive symbols are parameters, and evaluation is symbolic only. Raises InputError.
        """
        # sympy is not loaded before an activation is asked for
        from elutheory.activations.symbolic import checked_expression, refuse_non_real  # noqa: PLC0415

        checked, x = checked_expression(expression, symbol, name)
        custom = Activation(name or str(checked), (), checked, x)
        pieces = custom._all_pieces
        if checked.free_symbols <= {x}:
            refuse_non_real(custom.name, custom, pieces)
            custom._slope  # noqa: B018 - the derivative must be evaluable too
        return custom

    @classmethod
    def from_text(cls, text: str, name: str | None = None) -> "Activation":
        """An activation from text in x such as `where(x > 0, x, exp(x) - 1)`, never evaluated as Python code.

        The language is that of `elutheory.activations.expression_parser`. Raises InputError.
        """
        # the parser loads sympy
        from elutheory.activations.expression_parser import parse_expression  # noqa: PLC0415
        from elutheory.activations.symbolic import real_x  # noqa: PLC0415

        expression = parse_expression(text)
        (symbol,) = expression.free_symbols or {real_x()}
        return Activation.from_expression(expression, symbol, name or text.strip())  # pyright: ignore

    def __call__(self, x: Any) -> Any:
        """f(x), elementwise."""
        return self._value(x)

    def derivative(self, x: Any) -> Any:
        """f'(x), elementwise; at a kink the derivative of the piece that the kink belongs to (torch's convention)."""
        return self._slope(x)

    @property
    def parameter_values(self) -> Mapping[str, Any]:
        """The parameters by name, read-only."""
        return MappingProxyType(dict(self.parameters))

    @property
    def pieces(self) -> tuple["elutheory.activations.pieces.Piece", ...]:
        """The maximal intervals on which f is one smooth expression, left to right, exact ends from −oo to oo."""
        return tuple(piece for piece in self._all_pieces if piece.lower != piece.upper)

    @property
    def breakpoints(self) -> tuple["sympy.Expr", ...]:
        """The finite ends of the pieces, increasing, exact."""
        return tuple(piece.lower for piece in self.pieces[1:])

    @cached_property
    def latex(self) -> str:
        """f(x) in LaTeX; selu's two constants as α and λ with their values."""
        # loads sympy, as do the other two below
        from elutheory.activations.symbolic import latex  # noqa: PLC0415

        return latex(self.name, self.expression, self.symbol)

    def torch_module(self) -> "torch.nn.Module":
        """torch.nn's own module, parameters set, not in place; a module calling this activation where torch has none.

        nn.Softplus gets threshold 40, so that it agrees in float64 too; nn.GELU is the exact erf form. nn.CELU's own
        gradient has only float32 accuracy unless 1/alpha is a float32 number, nn.Hardsigmoid's value and gradient too,
        and the gradients of nn.Tanh, nn.Sigmoid and nn.GELU round to 0 in saturation (torch 2.13: from |x| = 9 on in
        float32). Where that matters, `elutheory.activations.torch_module.ActivationModule(function)` calls this
        activation, whose gradients do not. nn.PReLU's slope is a parameter of the module, of the default dtype, which
        starts at `negative_slope` and is trained.
        """
        self.refuse_symbolic()
        # torch is loaded only for its modules
        from torch import nn  # noqa: PLC0415

        module = DEFINITIONS[self.name].module if self.name in DEFINITIONS else None
        if module is not None:
            return module(nn, **dict(self.parameters))
        from elutheory.activations.torch_module import ActivationModule  # noqa: PLC0415

        return ActivationModule(self)

    def __repr__(self) -> str:
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.parameters)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Activation, (self.name, self.parameters, self.expression, self.symbol)

    @cached_property
    def _all_pieces(self) -> tuple["elutheory.activations.pieces.Piece", ...]:
        from elutheory.activations.pieces import pieces_of  # noqa: PLC0415

        return pieces_of(self.expression, self.symbol)

    @cached_property
    def _value(self) -> Any:
        return self._numeric(order=0)

    @cached_property
    def _slope(self) -> Any:
        return self._numeric(order=1)

    def _numeric(self, order: int) -> Any:
        from elutheory.activations.evaluation import NumericFunction  # noqa: PLC0415

        self.refuse_symbolic()
        return NumericFunction(self._all_pieces, self.symbol, order)

    def refuse_symbolic(self) -> None:
        """Raise InputError if a parameter is a symbol: there is no number to compute with."""
        if self._free:
            raise InputError(f"{self} has the symbolic parameter {self._free[0]}; give it a number to evaluate it.")

    @cached_property
    def _free(self) -> tuple[str, ...]:
        """The symbolic parameters."""
        return tuple(sorted(str(symbol) for symbol in self.expression.free_symbols - {self.symbol}))
