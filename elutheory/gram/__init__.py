"""The kernels of a whole data set, through the layers of a wide random network (P4, P5, B5).

P4 takes the N × N Gram matrix of N inputs from layer to layer: K_{l+1} = σ_w² E[f(U) f(V)] + σ_b², entry by entry the
pair expectation of `elutheory.kernels`. P5 takes the neural tangent kernel along, and estimates the largest
eigenvalue of
the Fisher matrix from it. B5 finds the strength of the bias shift's correction from a Gram matrix.

Start with `deep_kernels`. In the order in which a Gram matrix meets them:

- `deep_kernels`: `propagate_gram` and `tangent_kernel`, what they return, and the loop over layers;
- `arguments`: the Gram matrix as it comes from the caller, checked;
- `pairs`: the pairs of inputs at one layer in their three states, and the law from one layer to the next;
- `layer_by_layer`: which of three routes the pairs take, and two of them: interpolants, or the kernel of every pair;
- `equal_norms`: the third, for inputs of equal norm: all layers together as one function of the angle;
- `interpolation`: the kernel as a series in two norms and an angle, built on grids, checked between them;
- `differentiable`: the same recursion in torch's graph, where derivatives by the Gram matrix are wanted;
- `wide_layers`: all statistics of wide random layers for one data set (P4, P5, B5);
- `spectrum`: `fisher_top_eigenvalue` (P5) and `bias_shift_strength` (B5).
"""

from elutheory.gram.deep_kernels import PropagatedGram as PropagatedGram
from elutheory.gram.deep_kernels import TangentKernel as TangentKernel
from elutheory.gram.deep_kernels import propagate_gram as propagate_gram
from elutheory.gram.deep_kernels import tangent_kernel as tangent_kernel
from elutheory.gram.spectrum import BiasShiftStrength as BiasShiftStrength
from elutheory.gram.spectrum import FisherTopEigenvalue as FisherTopEigenvalue
from elutheory.gram.spectrum import bias_shift_strength as bias_shift_strength
from elutheory.gram.spectrum import fisher_top_eigenvalue as fisher_top_eigenvalue
