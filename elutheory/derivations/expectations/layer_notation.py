"""The symbols of P1-P6 (signal propagation), T1-T5 (training) and B5."""

import sympy

from elutheory.derivations.proof.notation import Symbol, matrix, n

# Weights of mean 0 and variance weight_variance/n, biases of variance bias_variance; a unit's weights w, its bias w0.
weight_variance = Symbol("weight_variance", "σ_w²", r"\sigma_w^2", positive=True)
bias_variance = Symbol("bias_variance", "σ_b²", r"\sigma_b^2", positive=True)
weight_moment = matrix("weight_moment", n, n, "E[wwᵀ]", r"\mathrm{E}[w w^\top]")
weight_bias_moment = matrix("weight_bias_moment", n, 1, "E[w w₀]", r"\mathrm{E}[w w_0]")
bias_moment = Symbol("bias_moment", "E[w₀²]", r"\mathrm{E}[w_0^2]", positive=True)
weight_mean = matrix("weight_mean", n, 1, "E[w]", r"\mathrm{E}[w]")
bias_mean = Symbol("bias_mean", "E[w₀]", r"\mathrm{E}[w_0]", real=True)

# Activations of the layer below for two inputs, and what the layer makes of them (P1).
below = matrix("below", n, 1, "a")
below_other = matrix("below_other", n, 1, "a′", "a'")
ones = matrix("ones", n, 1, "𝟏", r"\mathbf{1}")
product_moment = Symbol("product_moment", "E[f(U)f(V)]", r"\mathrm{E}[f(U)f(V)]", real=True)
product_second_moment = Symbol("product_second_moment", "E[f(U)²f(V)²]", r"\mathrm{E}[f(U)^2f(V)^2]", positive=True)
net_overlap = Symbol("net_overlap", "E[h h′]", r"\mathrm{E}[h h']", real=True)
overlap_with_two_units = Symbol("overlap_with_two_units", "E[h (h′ + k′)]", r"\mathrm{E}[h (h' + k')]", real=True)
overlap_average = Symbol("overlap_average", "E[aᵀa′/n]", r"\mathrm{E}[a^\top a'/n]", real=True)
overlap_variance = Symbol("overlap_variance", "Var[aᵀa′/n]", r"\mathrm{Var}[a^\top a'/n]", positive=True)

# Two net inputs U, V of a unit: second moment q, overlap c; c_{l+1}, q_{l+1} one layer on (P1, P3).
q, c = sympy.symbols("q c", positive=True)
next_overlap = Symbol("next_overlap", "c⁺", "c^+", real=True)
next_second_moment = Symbol("next_second_moment", "q⁺", "q^+", positive=True)
value_product = Symbol("value_product", "E[f(U)f(V)]", r"\mathrm{E}[f(U)f(V)]", real=True)
slope_product = Symbol("slope_product", "E[f′(U)f′(V)]", r"\mathrm{E}[f'(U)f'(V)]", real=True)
overlap_slope = Symbol("overlap_slope", "∂c⁺/∂c", r"\frac{\partial c^+}{\partial c}", real=True)
overlap_slope_at_q = Symbol(
    "overlap_slope_at_q", "∂c⁺/∂c (c=q)", r"\left.\frac{\partial c^+}{\partial c}\right|_{c=q}", positive=True
)
second_moment_slope = Symbol("second_moment_slope", "∂q⁺/∂q", r"\frac{\partial q^+}{\partial q}", real=True)
input_value_slope_mean = Symbol("input_value_slope_mean", "E[U f(U)f′(U)]", r"\mathrm{E}[U f(U)f'(U)]", real=True)

# One unit over the inputs (P2): mean and variance of its net input, its mean activation M.
net_gram = matrix("net_gram", n, n, "G")
centring_matrix = matrix("centring_matrix", n, n, "C")
net_mean_variance = Symbol("net_mean_variance", "Var[mean h]", r"\mathrm{Var}[\mathrm{mean}\,h]", positive=True)
unit_mean_average = Symbol("unit_mean_average", "E[M]", r"\mathrm{E}[M]", real=True)
median_over_units = Symbol("median_over_units", "median[M]", r"\mathrm{median}[M]", real=True)
unit_mean_variance = Symbol("unit_mean_variance", "Var[M]", r"\mathrm{Var}[M]", positive=True)
unit_mean_square = Symbol("unit_mean_square", "E[M²]", r"\mathrm{E}[M^2]", positive=True)
within_unit_variance = Symbol("within_unit_variance", "E[Var(f|Y)]", r"\mathrm{E}[\mathrm{Var}(f|Y)]", positive=True)
mean_share = Symbol("mean_share", "share", r"\mathrm{share}", positive=True)

# Backwards (P3): deltas of the layer above, slopes of this one.
delta_above = matrix("delta_above", n, 1, "d")
outgoing_moment = matrix("outgoing_moment", n, n, "E[vvᵀ]", r"\mathrm{E}[v v^\top]")
width = Symbol("width", "m", positive=True)
slope = Symbol("slope", "f′(h)", "f'(h)", real=True)
slope_square_sum = Symbol("slope_square_sum", "sum[f′(h)²]", r"{\textstyle\sum_j f'(h_j)^2}", positive=True)
slope_square_average = Symbol(
    "slope_square_average", "mean[f′(h)²]", r"\frac1m{\textstyle\sum_j f'(h_j)^2}", positive=True
)
delta_above_average = Symbol("delta_above_average", "mean[d²]", r"\frac1n{\textstyle\sum_i d_i^2}", positive=True)
delta_square = Symbol("delta_square", "E[δ²]", r"\mathrm{E}[\delta^2]", positive=True)
delta_square_sum = Symbol("delta_square_sum", "E[sum δ²]", r"\mathrm{E}[{\textstyle\sum_j\delta_j^2}]", positive=True)
delta_square_average = Symbol(
    "delta_square_average", "E[mean δ²]", r"\mathrm{E}[\frac1m{\textstyle\sum_j\delta_j^2}]", positive=True
)
chi = Symbol("chi", "χ", r"\chi", positive=True)

# Batch normalisation and residual branches.
batch_variance = Symbol("batch_variance", "E[s²]", r"\mathrm{E}[s^2]", positive=True)
unit_variances = matrix("unit_variances", n, 1, "v")
skip = Symbol("skip", "x", real=True)
skip_other = Symbol("skip_other", "x′", "x'", real=True)
delta_skip = Symbol("delta_skip", "d_j", real=True)

# Between networks of finite width (P6): two statistics S, T of a layer at (v, c), their slopes, and covariances.
unit_means = matrix("unit_means", n, 1, "M")
mean_square_over_data = Symbol(
    "mean_square_over_data", "E[(mean h)²]", r"\mathrm{E}[(\mathrm{mean}\,h)^2]", positive=True
)
first_by_v = Symbol("first_by_v", "∂S/∂v", r"\frac{\partial S}{\partial v}", real=True)
first_by_c = Symbol("first_by_c", "∂S/∂c", r"\frac{\partial S}{\partial c}", real=True)
second_by_v = Symbol("second_by_v", "∂T/∂v", r"\frac{\partial T}{\partial v}", real=True)
second_by_c = Symbol("second_by_c", "∂T/∂c", r"\frac{\partial T}{\partial c}", real=True)
layer_v_variance = Symbol("layer_v_variance", "Var[v]", r"\mathrm{Var}[v]", positive=True)
layer_c_variance = Symbol("layer_c_variance", "Var[c]", r"\mathrm{Var}[c]", positive=True)
layer_covariance = Symbol("layer_covariance", "Cov[v, c]", r"\mathrm{Cov}[v, c]", real=True)
unit_covariance = Symbol("unit_covariance", "E[W]", r"\mathrm{E}[W]", real=True)
statistics_covariance = Symbol("statistics_covariance", "Cov[S, T]", r"\mathrm{Cov}[S, T]", real=True)

# The gradients of one output by m parameters at n inputs, their Gram matrix, its eigenvalues (P5).
parameters = sympy.Symbol("m", integer=True, positive=True)
jacobian = matrix("jacobian", n, parameters, "J")
fisher = matrix("fisher", parameters, parameters, "F")
tangent_gram = matrix("tangent_gram", n, n, "Θ", r"\Theta")
tangent_rest = matrix("tangent_rest", n, n, "R")
diagonal_sum = Symbol("diagonal_sum", "tr Θ", r"\mathrm{tr}\,\Theta", positive=True)
kappa_1 = Symbol("kappa_1", "κ₁", r"\kappa_1", positive=True)
kappa_2 = Symbol("kappa_2", "κ₂", r"\kappa_2", real=True)
top_eigenvalue = Symbol("top_eigenvalue", "λ_max", r"\lambda_{\max}", positive=True)

# A whole data set of n inputs: the net inputs' Gram matrix K, two of its entries, the next layer's (P4).
net_kernel = matrix("net_kernel", n, n, "K")
first_input = matrix("first_input", n, 1, "e_i", "e_i")
second_input = matrix("second_input", n, 1, "e_j", "e_j")
kernel_first = Symbol("kernel_first", "K_ii", "K_{ii}", positive=True)
kernel_second = Symbol("kernel_second", "K_jj", "K_{jj}", positive=True)
kernel_both = Symbol("kernel_both", "K_ij", "K_{ij}", real=True)
next_kernel_both = Symbol("next_kernel_both", "K_ij⁺", "K^+_{ij}", real=True)
data_direction = matrix("data_direction", n, 1, "x")
value_gram = matrix("value_gram", n, n, "E[f(U)f(U)ᵀ]", r"\mathrm{E}[f(U)f(U)^\top]")
kernel_form = Symbol("kernel_form", "xᵀK⁺x", r"x^\top K^+ x", real=True)
entry_product = Symbol("entry_product", "E[f(U_i)f(U_j)]", r"\mathrm{E}[f(U_i)f(U_j)]", real=True)
entry_average = Symbol("entry_average", "E[aᵀa′/n]", r"\mathrm{E}[a^\top a'/n]", real=True)

# Gradients of one output at two inputs, by scaled weights r ω and a bias β ω₀ of unit variance (P5's recursion).
weight_scale = Symbol("weight_scale", "r", positive=True)
bias_scale = Symbol("bias_scale", "β", r"\beta", positive=True)
delta = Symbol("delta", "δ", r"\delta", real=True)
delta_other = Symbol("delta_other", "δ′", r"\delta'", real=True)
delta_above_other = matrix("delta_above_other", n, 1, "d′", "d'")
slope_other = Symbol("slope_other", "f′(h′)", "f'(h')", real=True)
unit_kernel = Symbol("unit_kernel", "Θ_unit", r"\Theta_{\mathrm{unit}}", real=True)
layer_kernel = Symbol("layer_kernel", "Θ_layer", r"\Theta_{\mathrm{layer}}", real=True)
delta_product = Symbol("delta_product", "E[δδ′]", r"\mathrm{E}[\delta\delta']", real=True)
delta_products = Symbol("delta_products", "sum[δδ′]", r"{\textstyle\sum_j\delta_j\delta'_j}", real=True)
delta_product_sum = Symbol(
    "delta_product_sum", "E[sum δδ′]", r"\mathrm{E}[{\textstyle\sum_j\delta_j\delta'_j}]", real=True
)
slope_product_sum = Symbol("slope_product_sum", "sum[f′(h)f′(h′)]", r"{\textstyle\sum_j f'(h_j)f'(h'_j)}", real=True)
slope_product_average = Symbol(
    "slope_product_average", "mean[f′(h)f′(h′)]", r"\frac1m{\textstyle\sum_j f'(h_j)f'(h'_j)}", real=True
)
kernel_entry = Symbol("kernel_entry", "K_ij⁺", "K^{l+1}_{ij}", real=True)
slope_entry = Symbol("slope_entry", "E[f′(U_i)f′(U_j)]", r"\mathrm{E}[f'(U_i) f'(U_j)]", real=True)
tangent_entry = Symbol("tangent_entry", "Θ_ij", r"\Theta^l_{ij}", real=True)
next_tangent_entry = Symbol("next_tangent_entry", "Θ_ij⁺", r"\Theta^{l+1}_{ij}", real=True)

# Training (T1–T4): one output for n inputs, the loss's gradient by it, steps; residuals, eigenvectors, targets.
activation_overlap = Symbol("activation_overlap", "E[aᵀa′]", r"\mathrm{E}[a^\top a']", real=True)
learning_rate = Symbol("learning_rate", "η", r"\eta", positive=True)
outputs = matrix("outputs", n, 1, "F")
outputs_next = matrix("outputs_next", n, 1, "F⁺", "F^+")
loss_gradient = matrix("loss_gradient", n, 1, "∂ℓ/∂F", r"\frac{\partial\ell}{\partial F}")
parameter_step = matrix("parameter_step", parameters, 1, "Δθ", r"\Delta\theta")
residual = matrix("residual", n, 1, "r")
residual_next = matrix("residual_next", n, 1, "r⁺", "r^+")
residual_later = matrix("residual_later", n, 1, "r⁺⁺", "r^{++}")
residual_scaled = matrix("residual_scaled", n, 1, "r⁺(sΘ,η/s)", r"r^+(s\Theta, \eta/s)")
eigenvector = matrix("eigenvector", n, 1, "u")
eigenvalue = Symbol("eigenvalue", "λ", r"\lambda", positive=True)
symmetric_rest = matrix("symmetric_rest", n, n, "R")
relative_rate = Symbol("relative_rate", "κ", r"\kappa", positive=True)
kernel_scale = Symbol("kernel_scale", "s", positive=True)
targets = matrix("targets", n, 1, "Y")
output_moment = matrix("output_moment", n, n, "E[FFᵀ]", r"\mathrm{E}[F F^\top]")
mode_square = Symbol("mode_square", "E[(uᵀr)²]", r"\mathrm{E}[(u^\top r)^2]", positive=True)

# The activations of n units at N inputs (B5).
inputs = sympy.Symbol("N", integer=True, positive=True)
activations = matrix("activations", inputs, n, "Φ", r"\Phi")
activation_gram = matrix("activation_gram", inputs, inputs, "K")
activation_moment = matrix("activation_moment", n, n, "S")
activation_mean = matrix("activation_mean", n, 1, "m")
input_ones = matrix("ones", inputs, 1, "𝟏", r"\mathbf{1}")
centred_gram = matrix("centred_gram", inputs, inputs, "K̃", r"\tilde K")
unit_gram = matrix("unit_gram", inputs, inputs, "E[hhᵀ]", r"\mathrm{E}[h h^\top]")
damping = Symbol("damping", "λ", r"\lambda", positive=True)
