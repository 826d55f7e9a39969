"""What evaluation calls for each function that may stand in an expression: one table per library.

* `on_floats`: Python's floats, with IEEE results where Python raises. Loads nothing but `math`.
* `on_numpy`, `on_torch`: arrays and tensors.
* `differentiated`: a function on torch tensors whose derivatives of every order are evaluated in stable form too.
* `on_mpmath`: numbers of any precision.
* `composed`: two functions that no library has to the last digit, composed of its own.

A table maps a sympy function's name to what computes it, and has `power`, `divide` and `sqrt`; those for arrays have
`where`, `at_least` and `at_most` as well. `evaluation` loads a table when it first meets an argument of that kind.
"""
