"""Expectations of an activation function at two correlated Gaussian variables."""

from elutheory.kernels.dual_kernels import DualKernel as DualKernel
from elutheory.kernels.dual_kernels import dual_covariance as dual_covariance
from elutheory.kernels.dual_kernels import dual_kernel as dual_kernel
from elutheory.kernels.dual_kernels import dual_kernel_derivative as dual_kernel_derivative
