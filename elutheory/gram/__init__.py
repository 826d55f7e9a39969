"""The kernels of a whole data set, through the layers."""

from elutheory.gram.deep_kernels import PropagatedGram as PropagatedGram
from elutheory.gram.deep_kernels import TangentKernel as TangentKernel
from elutheory.gram.deep_kernels import propagate_gram as propagate_gram
from elutheory.gram.deep_kernels import tangent_kernel as tangent_kernel
from elutheory.gram.spectrum import BiasShiftStrength as BiasShiftStrength
from elutheory.gram.spectrum import FisherTopEigenvalue as FisherTopEigenvalue
from elutheory.gram.spectrum import bias_shift_strength as bias_shift_strength
from elutheory.gram.spectrum import fisher_top_eigenvalue as fisher_top_eigenvalue
