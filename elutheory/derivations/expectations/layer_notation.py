"""The symbols of P1-P5 (signal propagation), and how each is written in text and in LaTeX."""

import sympy

from elutheory.derivations.proof.notation import WRITTEN, n

# Weights of mean 0 and variance weight_variance/n, biases of variance bias_variance; a unit's weights w, its bias w0.
weight_variance = sympy.Symbol("weight_variance", positive=True)
bias_variance = sympy.Symbol("bias_variance", positive=True)
weight_moment = sympy.MatrixSymbol("weight_moment", n, n)
weight_bias_moment = sympy.MatrixSymbol("weight_bias_moment", n, 1)
bias_moment = sympy.Symbol("bias_moment", positive=True)
weight_mean = sympy.MatrixSymbol("weight_mean", n, 1)
bias_mean = sympy.Symbol("bias_mean", real=True)

# Activations of the layer below for two inputs, and what the layer makes of them (P1).
below = sympy.MatrixSymbol("below", n, 1)
below_other = sympy.MatrixSymbol("below_other", n, 1)
ones = sympy.MatrixSymbol("ones", n, 1)
product_moment = sympy.Symbol("product_moment", real=True)
product_second_moment = sympy.Symbol("product_second_moment", positive=True)
net_overlap = sympy.Symbol("net_overlap", real=True)
overlap_with_two_units = sympy.Symbol("overlap_with_two_units", real=True)
overlap_average = sympy.Symbol("overlap_average", real=True)
overlap_variance = sympy.Symbol("overlap_variance", positive=True)

# Two net inputs U, V of a unit: second moment q, overlap c; c_{l+1}, q_{l+1} one layer on (P1, P3).
q, c = sympy.symbols("q c", positive=True)
next_overlap = sympy.Symbol("next_overlap", real=True)
next_second_moment = sympy.Symbol("next_second_moment", positive=True)
value_product = sympy.Symbol("value_product", real=True)
slope_product = sympy.Symbol("slope_product", real=True)
overlap_slope = sympy.Symbol("overlap_slope", real=True)
overlap_slope_at_q = sympy.Symbol("overlap_slope_at_q", positive=True)
second_moment_slope = sympy.Symbol("second_moment_slope", real=True)
input_value_slope_mean = sympy.Symbol("input_value_slope_mean", real=True)

# One unit over the inputs (P2): mean and variance of its net input, its mean activation M.
net_gram = sympy.MatrixSymbol("net_gram", n, n)
centring_matrix = sympy.MatrixSymbol("centring_matrix", n, n)
net_mean_variance = sympy.Symbol("net_mean_variance", positive=True)
unit_mean_average = sympy.Symbol("unit_mean_average", real=True)
median_over_units = sympy.Symbol("median_over_units", real=True)
unit_mean_variance = sympy.Symbol("unit_mean_variance", positive=True)
unit_mean_square = sympy.Symbol("unit_mean_square", positive=True)
within_unit_variance = sympy.Symbol("within_unit_variance", positive=True)
mean_share = sympy.Symbol("mean_share", positive=True)

# Backwards (P3): deltas of the layer above, slopes of this one.
delta_above = sympy.MatrixSymbol("delta_above", n, 1)
outgoing_moment = sympy.MatrixSymbol("outgoing_moment", n, n)
width = sympy.Symbol("width", positive=True)
slope = sympy.Symbol("slope", real=True)
slope_square_sum = sympy.Symbol("slope_square_sum", positive=True)
slope_square_average = sympy.Symbol("slope_square_average", positive=True)
delta_above_average = sympy.Symbol("delta_above_average", positive=True)
delta_square = sympy.Symbol("delta_square", positive=True)
delta_square_sum = sympy.Symbol("delta_square_sum", positive=True)
delta_square_average = sympy.Symbol("delta_square_average", positive=True)
chi = sympy.Symbol("chi", positive=True)

# Batch normalisation and residual branches.
batch_variance = sympy.Symbol("batch_variance", positive=True)
unit_variances = sympy.MatrixSymbol("unit_variances", n, 1)
skip = sympy.Symbol("skip", real=True)
skip_other = sympy.Symbol("skip_other", real=True)
delta_skip = sympy.Symbol("delta_skip", real=True)

# The gradients of one output by m parameters at n inputs, their Gram matrix, its eigenvalues (P5).
parameters = sympy.Symbol("m", integer=True, positive=True)
jacobian = sympy.MatrixSymbol("jacobian", n, parameters)
fisher = sympy.MatrixSymbol("fisher", parameters, parameters)
tangent_gram = sympy.MatrixSymbol("tangent_gram", n, n)
tangent_rest = sympy.MatrixSymbol("tangent_rest", n, n)
diagonal_sum = sympy.Symbol("diagonal_sum", positive=True)
kappa_1 = sympy.Symbol("kappa_1", positive=True)
kappa_2 = sympy.Symbol("kappa_2", real=True)
top_eigenvalue = sympy.Symbol("top_eigenvalue", positive=True)

# The activations of n units at N inputs (B5).
inputs = sympy.Symbol("N", integer=True, positive=True)
activations = sympy.MatrixSymbol("activations", inputs, n)
activation_gram = sympy.MatrixSymbol("activation_gram", inputs, inputs)
activation_moment = sympy.MatrixSymbol("activation_moment", n, n)
activation_mean = sympy.MatrixSymbol("activation_mean", n, 1)
input_ones = sympy.MatrixSymbol("ones", inputs, 1)
damping = sympy.Symbol("damping", positive=True)

# Name of a symbol -> (Unicode, LaTeX).
WRITTEN |= {
    "weight_variance": ("σ_w²", r"\sigma_w^2"),
    "bias_variance": ("σ_b²", r"\sigma_b^2"),
    "weight_moment": ("E[wwᵀ]", r"\mathrm{E}[w w^\top]"),
    "weight_bias_moment": ("E[w w₀]", r"\mathrm{E}[w w_0]"),
    "bias_moment": ("E[w₀²]", r"\mathrm{E}[w_0^2]"),
    "weight_mean": ("E[w]", r"\mathrm{E}[w]"),
    "bias_mean": ("E[w₀]", r"\mathrm{E}[w_0]"),
    "below": ("a", "a"),
    "below_other": ("a′", "a'"),
    "product_moment": ("E[f(U)f(V)]", r"\mathrm{E}[f(U)f(V)]"),
    "product_second_moment": ("E[f(U)²f(V)²]", r"\mathrm{E}[f(U)^2f(V)^2]"),
    "net_overlap": ("E[h h′]", r"\mathrm{E}[h h']"),
    "overlap_with_two_units": ("E[h (h′ + k′)]", r"\mathrm{E}[h (h' + k')]"),
    "overlap_average": ("E[aᵀa′/n]", r"\mathrm{E}[a^\top a'/n]"),
    "overlap_variance": ("Var[aᵀa′/n]", r"\mathrm{Var}[a^\top a'/n]"),
    "next_overlap": ("c⁺", "c^+"),
    "next_second_moment": ("q⁺", "q^+"),
    "value_product": ("E[f(U)f(V)]", r"\mathrm{E}[f(U)f(V)]"),
    "slope_product": ("E[f′(U)f′(V)]", r"\mathrm{E}[f'(U)f'(V)]"),
    "overlap_slope": ("∂c⁺/∂c", r"\frac{\partial c^+}{\partial c}"),
    "overlap_slope_at_q": ("∂c⁺/∂c (c=q)", r"\left.\frac{\partial c^+}{\partial c}\right|_{c=q}"),
    "second_moment_slope": ("∂q⁺/∂q", r"\frac{\partial q^+}{\partial q}"),
    "input_value_slope_mean": ("E[U f(U)f′(U)]", r"\mathrm{E}[U f(U)f'(U)]"),
    "net_gram": ("G", "G"),
    "centring_matrix": ("C", "C"),
    "net_mean_variance": ("Var[mean h]", r"\mathrm{Var}[\mathrm{mean}\,h]"),
    "unit_mean_average": ("E[M]", r"\mathrm{E}[M]"),
    "median_over_units": ("median[M]", r"\mathrm{median}[M]"),
    "unit_mean_variance": ("Var[M]", r"\mathrm{Var}[M]"),
    "unit_mean_square": ("E[M²]", r"\mathrm{E}[M^2]"),
    "within_unit_variance": ("E[Var(f|Y)]", r"\mathrm{E}[\mathrm{Var}(f|Y)]"),
    "mean_share": ("share", r"\mathrm{share}"),
    "delta_above": ("d", "d"),
    "delta_above_average": ("mean[d²]", r"\frac1n\textstyle\sum_i d_i^2"),
    "outgoing_moment": ("E[vvᵀ]", r"\mathrm{E}[v v^\top]"),
    "width": ("m", "m"),
    "slope": ("f′(h)", "f'(h)"),
    "slope_square_sum": ("sum[f′(h)²]", r"\textstyle\sum_j f'(h_j)^2"),
    "slope_square_average": ("mean[f′(h)²]", r"\frac1m\textstyle\sum_j f'(h_j)^2"),
    "delta_square": ("E[δ²]", r"\mathrm{E}[\delta^2]"),
    "delta_square_sum": ("E[sum δ²]", r"\mathrm{E}[\textstyle\sum_j\delta_j^2]"),
    "delta_square_average": ("E[mean δ²]", r"\mathrm{E}[\frac1m\textstyle\sum_j\delta_j^2]"),
    "chi": ("χ", r"\chi"),
    "batch_variance": ("E[s²]", r"\mathrm{E}[s^2]"),
    "unit_variances": ("v", "v"),
    "skip": ("x", "x"),
    "skip_other": ("x′", "x'"),
    "delta_skip": ("d_j", "d_j"),
    "jacobian": ("J", "J"),
    "fisher": ("F", "F"),
    "activations": ("Φ", r"\Phi"),
    "activation_gram": ("K", "K"),
    "activation_moment": ("S", "S"),
    "activation_mean": ("m", "m"),
    "damping": ("λ", r"\lambda"),
    "tangent_gram": ("Θ", r"\Theta"),
    "tangent_rest": ("R", "R"),
    "diagonal_sum": ("tr Θ", r"\mathrm{tr}\,\Theta"),
    "kappa_1": ("κ₁", r"\kappa_1"),
    "kappa_2": ("κ₂", r"\kappa_2"),
    "top_eigenvalue": ("λ_max", r"\lambda_{\max}"),
}
