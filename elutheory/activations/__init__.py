"""What an activation function is: one symbolic definition each, from which every number and formula follows.

f is a sympy expression of a real x. Its value and derivative on floats, numpy arrays, torch tensors and mpmath
numbers, its LaTeX, its smooth pieces and the places where it bends are derived from that one expression.

* `activation_function`: `Activation`, and `activation("elu", alpha=2.0)`: start here. Loads no library.
* `definitions`: the registry, every formula on one page, and what else they are called.
* `symbolic`: parameters and a user's expressions, checked and made exact.
* `expression_parser`: text such as `where(x > 0, x, exp(x) - 1)` to sympy, through a whitelist.
* `pieces`: the maximal intervals on which f is smooth, with exact ends.
* `kinks`: where f or a derivative jumps.
* `smooth_shapes`: straight lines times the normal distribution function, and waves, recognised exactly.
* `stable_forms`: expressions rewritten so that floating point loses no digits.
* `evaluation`: pieces compiled for one library and put together on arrays; `operations/` has a table per library.
* `options`: activation functions as commands name them, with their parameters.
* `torch_module`: an activation that torch.nn lacks, as a module.
* `recognition`: which activation function a module applies.
"""

from elutheory.activations.activation_function import Activation as Activation
from elutheory.activations.activation_function import activation as activation
from elutheory.activations.activation_function import activation_names as activation_names
from elutheory.activations.activation_function import as_activation as as_activation
