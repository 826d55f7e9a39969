"""Pair expectations of analytic functions that have no closed form: three rules, each with an error that is true.

A trapezoidal rule has exponentially small errors for analytic integrands; the sum over every second node tells them.

* `mehler`: Mehler's series (K4), short where the correlation is away from ±1; grids of norms and angles for whole Gram
  matrices;
* `lattice`: the rule in half sum and half difference, for U and V that are nearly alike or opposite;
* `graded`: rules that are fine next to what f does and coarse elsewhere, where U and V spread over many of its widths;
* `scales`: over what lengths an analytic f varies, found from its values.

`elutheory.kernels.expectations` tries them in that order.
"""
