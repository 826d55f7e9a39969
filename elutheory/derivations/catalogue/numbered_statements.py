"""What each number states, in a plain line: F, L, B, M, K, P and T of the theory, and E1–E12, what the paper ran.

The equations and how far they are checked are the derivations' own; what no derivation proves is quoted, with its
source.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quoted:
    """A statement that is used but not derived here: its formula in LaTeX, and where it comes from."""

    formula: str
    source: str


@dataclass(frozen=True)
class NumberedStatement:
    """One number of the theory.

    - `equations`: a derivation's identifier and the names of those of its steps that are the statement;
    - `quoted`: what of the statement is not derived here;
    - `functions`: public names that compute it, as attributes of `elutheory`, if there are any;
    - `tests`: files that compare the two, or the functions with references that share no formula with them.
    """

    number: str
    sentence: str
    equations: tuple[tuple[str, tuple[str, ...]], ...]
    functions: tuple[str, ...]
    tests: tuple[str, ...]
    quoted: Quoted | None = None


_UNIT_FISHER = "tests/fisher/test_unit_fisher.py"
_CORRECTION = ("tests/fisher/test_correction.py", "tests/fisher/test_theorem_checks.py")
_SPECTRUM = "tests/gram/test_spectrum.py"
_MOMENTS = ("tests/moments/test_moments.py", "tests/moments/test_certified.py")
_KERNELS = ("tests/kernels/test_kernels.py", "tests/derivations/test_kernels.py")
_PROPAGATION = ("tests/derivations/test_propagation.py", "tests/propagation/test_propagation.py")
_SIMULATION = "tests/propagation/test_simulation.py"
_DYNAMICS = "tests/derivations/test_dynamics.py"
_TRAINING_KERNEL = "tests/dynamics/test_training_kernel.py"
_PREDICTION = "tests/dynamics/test_prediction.py"
_MEASURED = "tests/dynamics/test_measured_networks.py"

PARTS: dict[str, tuple[NumberedStatement, ...]] = {
    "The unit Fisher matrix": (
        NumberedStatement(
            "F1",
            "The Fisher matrix of one unit, over its incoming weights and its bias, is the second moment of its score. "
            "With δ the derivative of the log-likelihood by the net input and a the incoming activations, its blocks "
            "are A = E[δ² a aᵀ], b = E[δ² a] and c = E[δ²].",
            (("fisher-information", ("A", "b", "c")),),
            ("unit_fisher", "UnitFisher.A", "UnitFisher.b", "UnitFisher.c"),
            (_UNIT_FISHER,),
        ),
        NumberedStatement(
            "F2",
            "Inputs weighted by δ² have a distribution q, and the blocks are c times the second moment and the mean of "
            "the incoming activations under q.",
            (("fisher-information", ("A by q", "b by q")),),
            ("UnitFisher.mean_under_q", "UnitFisher.covariance_under_q"),
            (_UNIT_FISHER,),
        ),
        NumberedStatement(
            "F3",
            "The mean under q is the mean over the data plus the covariance of δ² with the activation, divided by "
            "E[δ²]: offset plus information gain.",
            (("fisher-information", ("mean under q",)),),
            ("UnitFisher.mean_under_q", "UnitFisher.mean_under_p"),
            (_UNIT_FISHER,),
        ),
    ),
    "Lemmas": (
        NumberedStatement(
            "L1",
            "The inverse of a bordered positive definite matrix [[A, b], [bᵀ, c]] is [[K, u], [uᵀ, s]].",
            (("lemma-1", ("Schur complement", "border", "corner")),),
            ("bias_shift_correction",),
            ("tests/fisher/test_theorem_checks.py",),
        ),
        NumberedStatement(
            "L2",
            "A mean measured against the second moment and the same mean measured against the covariance determine "
            "each other; e is any vector.",
            (("lemma-2", ("bound", "first equation", "second equation")),),
            ("bias_shift_strength",),
            (_SPECTRUM,),
        ),
    ),
    "The bias-shift correction": (
        NumberedStatement(
            "B1",
            "Theorem 1: the unit natural gradient, the inverse unit Fisher matrix times the gradient (g, g₀), in "
            "closed form.",
            (("theorem-1", ("theorem, weights", "theorem, bias", "theorem, s")),),
            ("UnitFisher.natural_gradient", "bias_shift_correction", "UnitNaturalGradient"),
            _CORRECTION,
        ),
        NumberedStatement(
            "B2",
            "The bias shift of a unit is the change of its mean net input by an update; shift₀ is that of the update "
            "without the coupling b of bias and weights.",
            (("bias-shift", ("bias shift", "without coupling")),),
            ("bias_shift_correction",),
            ("tests/fisher/test_correction.py", "tests/diagnosis/test_diagnosis.py"),
        ),
        NumberedStatement(
            "B3",
            "Theorem 2: the coupling corrects the incoming mean by −k E_q[a] and multiplies the bias's part by k. At "
            "E_q[a] = 0 it corrects nothing.",
            (("theorem-2", ("theorem, shift", "theorem, k")),),
            ("bias_shift_correction",),
            _CORRECTION,
        ),
        NumberedStatement(
            "B4",
            "For incoming activations less their mean under q the unit Fisher matrix is block diagonal: bias and "
            "weights decouple.",
            (("centring", ("block diagonal",)),),
            ("UnitNaturalGradient",),
            (_UNIT_FISHER, "tests/fisher/test_natural_gradient.py"),
        ),
        NumberedStatement(
            "B5",
            "The strength of the correction for a whole data set follows from the Gram matrix of its activations.",
            (("push-through", ("B5",)),),
            ("bias_shift_strength",),
            (_SPECTRUM, "tests/derivations/test_propagation.py"),
        ),
    ),
    "Gaussian moments of activation functions": (
        NumberedStatement(
            "M1",
            "An exponential factor under a Gaussian expectation shifts the mean: E[exp(cX) h(X)] = "
            "exp(cμ + c²σ²/2) E[h(X + cσ²)]. The equation is that of the integrands.",
            (("tilting", ("tilting",)),),
            ("gaussian_expectation",),
            ("tests/derivations/test_expectations.py",),
        ),
        NumberedStatement(
            "M2",
            "The moments of a truncated Gaussian obey a recursion, so every piecewise (polynomial × exponential) "
            "activation function has its Gaussian moments in closed form. The first equation is that of the "
            "integrands, for every k.",
            (("truncated-moments", ("recursion", "T_0", "T_1", "T_2")),),
            ("gaussian_expectation", "moment_formulas"),
            ("tests/derivations/test_expectations.py", "tests/derivations/test_moments.py"),
        ),
        NumberedStatement(
            "M3",
            "The mean activation of an ELU whose net input is Gaussian.",
            (("moments-elu", ("E[f]",)),),
            ("gaussian_moments", "certified_moments"),
            _MOMENTS,
        ),
        NumberedStatement(
            "M4",
            "Its second moment, and with it the variance.",
            (("moments-elu", ("E[f²]", "Var[f]")),),
            ("gaussian_moments", "certified_moments"),
            _MOMENTS,
        ),
        NumberedStatement(
            "M5",
            "Stein's identity E[X f(X)] = μ E[f] + σ² E[f′], as an equation of integrands and for the ELU.",
            (("stein", ("Stein",)), ("moments-elu", ("E[X f]",))),
            ("moment_formulas",),
            ("tests/derivations/test_expectations.py", "tests/derivations/test_moments.py"),
        ),
        NumberedStatement(
            "M6",
            "A strictly increasing f changes the differential entropy of its input by E[ln f′]: the information that "
            "survives it. Where f is flat with positive probability it is −∞, for the output has an atom.",
            (("entropy-of-output", ("information",)), ("moments-elu", ("E[ln f′]",))),
            ("gaussian_moments", "certified_moments"),
            _MOMENTS,
        ),
        NumberedStatement(
            "M7",
            "Far below zero the variance of an ELU vanishes exponentially, that of a leaky ReLU of slope s does not.",
            (("deactivation-limit", ("ELU, variance", "leaky ReLU, variance")),),
            ("gaussian_moments",),
            ("tests/moments/test_moments.py", "tests/derivations/test_moments.py"),
        ),
    ),
    "Correlated pairs": (
        NumberedStatement(
            "K1",
            "The dual kernel E[f(X)f(Y)] of ELU, CELU, SELU and ReLU for a Gaussian pair, quadrant by quadrant.",
            (("dual-kernel", ("G", "above_above", "above_below", "below_above", "below_below")),),
            ("dual_kernel", "dual_kernel_formulas"),
            _KERNELS,
        ),
        NumberedStatement(
            "K2",
            "The dual kernel of the slopes, E[f′(X)f′(Y)], of the same functions.",
            (("dual-kernel-derivative", ("K2",)),),
            ("dual_kernel_derivative", "dual_kernel_formulas"),
            _KERNELS,
        ),
        NumberedStatement(
            "K3",
            "Price's theorem: a covariance is the integral over the correlation of the slopes' dual kernel D; its "
            "integrand is positive where f and g increase, so nothing cancels.",
            (("price-theorem", ("density", "covariance")),),
            ("dual_covariance",),
            _KERNELS,
        ),
        NumberedStatement(
            "K4",
            "At zero means the dual kernel is a power series in the correlation whose coefficients are products of "
            "the Hermite coefficients of f: the independent check of K1, and why the correlation's map is convex.",
            (("mehler-series", ("series", "convexity")),),
            ("dual_kernel", "fixed_points"),
            _KERNELS,
        ),
        NumberedStatement(
            "K5",
            "The arc-sine kernels: dual kernels at zero means of erf, h(x) = erf(x), and of GELU, g(x) = x Φ(x), at "
            "standard deviations s1 and s2 and covariance c. Those of slopes are their derivatives by c (K3).",
            (),
            ("dual_kernel", "dual_kernel_derivative", "dual_covariance"),
            ("tests/kernels/test_smooth_pairs.py",),
            Quoted(
                r"\mathrm{E}[h(X) h(Y)] = \frac{2}{\pi} \arcsin\frac{2 c}{\sqrt{(1 + 2 s_1^2)(1 + 2 s_2^2)}}, \qquad "
                r"\mathrm{E}[g(X) g(Y)] = \frac{c}{4} + \frac{1}{2 \pi} \left(c \arcsin\frac{c}{\sqrt{a b}} + "
                r"\frac{s_1^2 s_2^2 + c^2 (1/a + 1/b - 1)}{\sqrt{a b - c^2}}\right), "
                r"\quad a = 1 + s_1^2, \quad b = 1 + s_2^2",
                "C. K. I. Williams, Computing with infinite networks, NIPS 1996, for erf; R. Tsuchida, T. Pearce, "
                "C. van der Heide, F. Roosta and M. Gallagher, arXiv 2002.08517, for GELU. "
                "`elutheory.kernels.arc_sine` has them for every straight line times Φ, and the tests compare with "
                "balls and with sums of nodes",
            ),
        ),
    ),
    "Signal propagation": (
        NumberedStatement(
            "P1",
            "A layer of random weights, infinitely wide, maps the net inputs' second moment q and their overlap c for "
            "two inputs to q⁺ and c⁺.",
            (("mean-field-recursion", ("second moment", "overlap")),),
            ("propagate",),
            _PROPAGATION,
        ),
        NumberedStatement(
            "P2",
            "With the weights fixed and the input varied, a unit's mean net input over the data is N(0, c) across "
            "units and its variance over the data q − c. The mean activation M rises with that mean, so its median "
            "over units is M at mean 0 and variance q − c: the quantity of the paper's figure 2a.",
            (("unit-mean-median", ("mean over inputs", "ELU, median", "ReLU, median")),),
            ("propagate",),
            (*_PROPAGATION, _SIMULATION),
        ),
        NumberedStatement(
            "P2b",
            "Mean share is overlap: the share of the activations' second moment that is the square of their mean over "
            "the data, and so a constant shift for the next layer.",
            (("unit-mean-spread", ("mean share",)),),
            ("propagate", "layer_statistics"),
            (*_PROPAGATION, _SIMULATION),
        ),
        NumberedStatement(
            "P3",
            "From a layer to the one below, the summed squares of the gradient by the net inputs are multiplied by "
            "χ = σ_w² E[f′²], the slope of the overlap's map at c = q.",
            (("gradient-recursion", ("sum of squares", "chi")),),
            ("propagate",),
            (*_PROPAGATION, _SIMULATION),
        ),
        NumberedStatement(
            "P4",
            "The Gram matrix of a whole data set goes through the layers entry by entry, by P1 for every pair of "
            "inputs.",
            (("gram-matrix-recursion", ("pairs", "entries")),),
            ("propagate_gram",),
            ("tests/gram/test_gram.py", "tests/derivations/test_propagation.py"),
        ),
        NumberedStatement(
            "P5",
            "The tangent kernel Θ follows layer by layer from the Gram matrices K of P4 and the slopes' dual kernel. "
            "The largest eigenvalue of the Fisher matrix is at least κ₂ + (κ₁ − κ₂)/n, with κ₁ and κ₂ the means of Θ "
            "on and off its diagonal over n inputs.",
            (("tangent-kernel-recursion", ("recursion",)), ("fisher-top-eigenvalue", ("Rayleigh quotient", "bound"))),
            ("tangent_kernel", "fisher_top_eigenvalue"),
            ("tests/gram/test_gram.py", "tests/derivations/test_propagation.py", _SPECTRUM),
        ),
        NumberedStatement(
            "P6",
            "At width m the statistics v = q − c and c of a layer vary between networks; their covariance grows from "
            "layer to layer by a term of order 1/m. S and T are σ_w² Var f and σ_w² M², averaged over the m units of a "
            "layer at (v, c). To leading order, for depth/width at most 1/16.",
            (("finite-width-fluctuations", ("variance over the data", "mean over the data", "fluctuations")),),
            ("propagate",),
            (_SIMULATION, "tests/derivations/test_propagation.py"),
        ),
    ),
    "Training dynamics": (
        NumberedStatement(
            "T1",
            "The tangent kernel of a network as it is trained, one learning rate for all weights and biases: a layer "
            "above n units adds n times their dual kernel, and 1 for the bias.",
            (("training-kernel-recursion", ("layer", "recursion")),),
            ("training_kernel", "empirical_training_kernel"),
            (_DYNAMICS, _TRAINING_KERNEL, _MEASURED),
        ),
        NumberedStatement(
            "T2",
            "A step of gradient descent on the mean loss over n inputs, to first order in the change of parameters, "
            "moves the outputs by the kernel times the loss's gradient by them.",
            (("linearised-descent", ("outputs", "cross-entropy")),),
            ("predict_training",),
            (_DYNAMICS, _PREDICTION),
        ),
        NumberedStatement(
            "T3",
            "With squared error each eigenvector of Θ/n shrinks by a factor of its own in every step; the largest "
            "stable rate is 2/λ₁, and the expected loss follows from the covariance of the outputs at initialisation.",
            (("training-modes", ("mode", "stability", "expected loss")),),
            ("predict_training", "TrainingPrediction.modes", "TrainingPrediction.largest_stable_rate"),
            (_DYNAMICS, _PREDICTION),
        ),
        NumberedStatement(
            "T4",
            "A kernel's size acts as a learning rate does: at the best rate only the ratios of the eigenvalues to the "
            "largest are left.",
            (("training-modes", ("size", "shape")),),
            ("TrainingPrediction.modes", "TrainingKernel.diagonal_mean"),
            (_DYNAMICS, _PREDICTION),
        ),
        NumberedStatement(
            "T5",
            "The constant direction holds the mean activations' part of the kernel. Centring a layer's activations "
            "removes it from their overlaps, and nothing else; the bias's part stays.",
            (("centred-training-kernel", ("constant direction", "removed", "kept")),),
            ("TrainingKernel.centred", "TrainingKernel.constant_share"),
            (_DYNAMICS, _TRAINING_KERNEL),
        ),
        NumberedStatement(
            "T6",
            "The kernel of a finite network varies between initialisations: relative to its mean, its variance is of "
            "the order of depth over width, the sum of 1/width over the hidden layers; in training it moves.",
            (),
            ("empirical_training_kernel", "predict_training"),
            (_MEASURED, _PREDICTION),
            Quoted(
                r"\operatorname{Var} \Theta(x, x) = (\mathbb{E}\, \Theta(x, x))^2\, O\Bigl(\sum_l \frac{1}{n_l}\Bigr)",
                "Hanin and Nica, arXiv 1909.05989, for ReLU",
            ),
        ),
    ),
}


@dataclass(frozen=True)
class PaperExperiment:
    """What arXiv 1511.07289 ran, where it says so, and the analyses here that go with it."""

    number: str
    place: str
    what: str
    analyses: tuple[str, ...]
    remark: str = ""


PAPER_EXPERIMENTS = (
    PaperExperiment(
        "E1", "figure 1", "The curves of ELU, ReLU, leaky ReLU and shifted ReLU on [−10, 10].", ("activation_curves",)
    ),
    PaperExperiment(
        "E2",
        "figure 2, section 4.1.1",
        "MNIST classifiers of 8 hidden layers of 128 units, plain gradient descent over 300 epochs: the median over "
        "units of the mean activation after every epoch, and the losses; ELU, ReLU and leaky ReLU.",
        ("learning_behaviour", "mean_activations", "gaussian_closure"),
    ),
    PaperExperiment(
        "E3",
        "figure 3, section 4.1.2",
        "MNIST autoencoders 784-1000-500-250-30 and mirror at four learning rates: training and test reconstruction "
        "error.",
        ("autoencoder",),
    ),
    PaperExperiment(
        "E4",
        "figure 4, section 4.2",
        "CIFAR-100 with 11 convolutional layers and ten seeds: test error of ELU, shifted ReLU, leaky ReLU and ReLU, "
        "with a signed-rank test.",
        ("cifar",),
    ),
    PaperExperiment(
        "E5",
        "figure 5",
        "The same networks with and without batch normalisation: it helps ReLU and leaky ReLU, not ELU.",
        ("cifar",),
    ),
    PaperExperiment(
        "E6",
        "table 1, section 4.3",
        "CIFAR-10 and CIFAR-100 with 18 convolutional layers: test error beside that of other networks.",
        ("cifar",),
    ),
    PaperExperiment(
        "E7",
        "figure 6, section 4.4",
        "ImageNet with 15 layers: iterations to 20 % top-5 error, final error, and hours per iteration of ELU and "
        "ReLU.",
        ("imagenet",),
        "statistics before training and time of a step; its training is not repeated here",
    ),
    PaperExperiment(
        "E8",
        "figure 7, appendix C",
        "MNIST classifiers of 5 hidden layers of 256 units: how much the units' median activations vary over training.",
        ("median_variance",),
    ),
    PaperExperiment(
        "E9", "abstract", "The lead of ELU in generalisation opens with networks of more than four layers.", ("depth",)
    ),
    PaperExperiment(
        "E10",
        "abstract",
        "ELU pushes mean activations toward zero as batch normalisation does, at a smaller computational footprint.",
        ("footprint",),
    ),
    PaperExperiment(
        "E11",
        "abstract, section 3",
        "Leaky and parametric ReLUs have no deactivation state that is robust to noise, ELUs have.",
        ("deactivation",),
    ),
    PaperExperiment(
        "E12",
        "sections 1 and 3",
        "The identity for positive values keeps the gradient from vanishing with depth.",
        ("vanishing_gradient",),
    ),
)
