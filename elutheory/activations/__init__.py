"""What an activation function is: one symbolic definition each."""

from elutheory.activations.activation_function import Activation as Activation
from elutheory.activations.activation_function import activation as activation
from elutheory.activations.activation_function import activation_names as activation_names
from elutheory.activations.activation_function import as_activation as as_activation
