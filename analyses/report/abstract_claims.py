"""The claims of the abstract of arXiv 1511.07289, each with the one test that decides it.

The sentences of the last version (v5) are in its order; those that only earlier versions have (which of v1 to v4 is not
told apart here) say so. The deciding test is the one that a reasonable reader means by the sentence. Where a record of
it had been seen when it was chosen, `seen` says so.
"""

from dataclasses import dataclass, field

from analyses.experiments.causal_claim.settings import DECIDING as CAUSAL_LOSS
from analyses.experiments.causal_claim.verdicts import BECAUSE, MARGIN, ZERO_MEANS
from analyses.experiments.cifar.verdicts import BELOW_NORMALISED, NOT_IMPROVED
from analyses.experiments.cifar.verdicts import MARGIN as NORMALISATION_MARGIN
from analyses.experiments.deactivation.verdicts import SLOPES
from analyses.experiments.dose_response.settings import DECIDING
from analyses.experiments.vanishing_gradient.settings import INITIALISATION_NAMES
from analyses.report.effects import Quantity

LAST, EARLIER = "v5", "before v5"


@dataclass(frozen=True)
class Others:
    """Further tests of a record, by identifiers (`*`: anything), which decide nothing.

    `later`: tests that a record made before they were stated lacks.
    """

    record: str
    tests: tuple[str, ...]
    later: tuple[str, ...] = ()


@dataclass(frozen=True)
class DecidingTest:
    """A record in a folder of `figures`, and which of its tests decide.

    `cases`: what each test is the case of, in words, by its identifier; a claim is replicated if all of them hold.
    `question`: what is compared, in words. `quantities`: of cases that are numbers of something else. `seen`: whether
    the record had been seen when the test was chosen.
    """

    record: str
    cases: dict[str, str]
    question: str
    quantity: Quantity
    seen: bool = True
    quantities: dict[str, Quantity] = field(default_factory=dict)


@dataclass(frozen=True)
class AbstractClaim:
    """What the abstract claims, in our words; without a deciding test, `untested` says what it would take."""

    identifier: str
    sentence: str
    versions: str
    deciding: DecidingTest | None = None
    others: tuple[Others, ...] = field(default=())
    untested: str = ""


_RECTIFIERS = {"relu": "against ReLU", "leaky_relu": "against leaky ReLU"}
_SHAPES = {"E2": "fully connected", "E4": "convolutional"}
_PAPER_SLOPE = 0.1
_PER_CENT = 100.0
_DEVIATION = Quantity(
    "powers of ten nearer the closed form than rounding asks for", "powers of ten farther from it than rounding allows"
)


def _of_slopes(*tests: str, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Identifiers of these tests of `analyses.experiments.deactivation` against every slope of the leaky ReLU."""
    found = [f"{test}: leaky_relu({slope:g})" for test in tests for slope in SLOPES]
    return tuple(identifier for identifier in found if identifier not in without)


_DEEP_NOISE = f"deep noise: leaky_relu({_PAPER_SLOPE:g})"
_INTERFERENCE = f"interference: leaky_relu({_PAPER_SLOPE:g})"

CLAIMS = (
    AbstractClaim(
        "learning speed",
        "ELUs speed up learning.",
        LAST,
        DecidingTest(
            "dose_response",
            {"gap": ""},
            f"updates to a training loss of {DECIDING:g} nats, ELU against ReLU, each at its own tuned learning rate",
            Quantity("fewer updates", "more updates", of_ratio=True),
            seen=False,
        ),
        (
            Others(
                "learning_behaviour",
                ("falls fastest", "epochs: *", "epochs to *", "log_training_loss: *", "last_training_loss: *"),
            ),
            Others("initialisation_and_rate", ("*",)),
            Others("causal_claim", ("premise",)),
            Others("autoencoder", ("training: *", "test: *")),
        ),
    ),
    AbstractClaim(
        "accuracy",
        "ELUs lead to higher classification accuracy.",
        LAST,
        DecidingTest(
            "depth",
            {f"all: {rival}": words for rival, words in _RECTIFIERS.items()},
            "test error, mean over all depths, each at its own tuned learning rate",
            Quantity("percentage points more test error", "percentage points less test error"),
            seen=False,
        ),
        (Others("learning_behaviour", ("lowest_validation_loss: *",), later=("test_error: *",)),),
    ),
    AbstractClaim(
        "vanishing gradient",
        "ELUs alleviate the vanishing gradient problem through the identity for positive values.",
        LAST,
        DecidingTest(
            "vanishing_gradient",
            {
                "positive identity: elu vs logistic, he": "against the logistic function",
                "positive identity: elu vs tanh, he": "against tanh",
            },
            "the factor by which a hidden layer changes the gradient's second moment, under He initialisation, ELU "
            "against saturating units",
            Quantity("less of it kept a layer", "more of it kept a layer", of_ratio=True),
        ),
        (
            Others(
                "vanishing_gradient",
                (
                    *(f"positive identity: elu vs *, {start}" for start in INITIALISATION_NAMES if start != "he"),
                    "not vanishing: elu, *",
                ),
            ),
        ),
    ),
    AbstractClaim(
        "mean activations",
        "In contrast to ReLUs, ELUs have negative values, which push mean unit activations closer to zero.",
        LAST,
        DecidingTest(
            "bias_shift_in_training",
            {"mean_share": ""},
            "the means' share of the activations' second moment, along training, ELU against ReLU",
            Quantity("percentage points less of it", "percentage points more of it", factor=_PER_CENT),
        ),
        (
            Others("learning_behaviour", ("distance: *",), later=("mean_share: *",)),
            Others("mean_activations", ("he", "lecun", "critical")),
            Others("mean_activations_fashion_mnist", ("he", "lecun", "critical")),
        ),
    ),
    AbstractClaim(
        "footprint",
        "ELUs push the mean towards zero like batch normalisation, but with lower computational complexity.",
        LAST,
        DecidingTest(
            "footprint",
            {f"step time: {identifier}": shape for identifier, shape in _SHAPES.items()},
            "time of a training step, ELU against ReLU with batch normalisation",
            Quantity("less time", "more time", of_ratio=True),
        ),
        (
            Others(
                "footprint",
                (
                    "layer time: *",
                    "mean share, relu_batch_norm: *",
                    "median mean, relu_batch_norm: *",
                    "operations, *",
                    "bytes: *",
                    "kept bytes: *",
                ),
            ),
        ),
    ),
    AbstractClaim(
        "zero means",
        "Mean shifts toward zero speed up learning.",
        LAST,
        DecidingTest(
            "dose_response",
            {"tuned: relu": "of ReLU", "tuned: elu": "of ELU"},
            f"updates to a training loss of {DECIDING:g} nats where the incoming means, and nothing else, are taken "
            "off, each dose at its own tuned learning rate",
            Quantity("fewer updates for each mean taken off", "more updates for each mean taken off", of_ratio=True),
            seen=False,
        ),
        (
            Others(
                "dose_response",
                ("lead without small mean", "fixed: *", "tuned: leaky_relu", "tuned: shifted_relu", "tuned: tanh"),
            ),
            Others("causal_claim", (ZERO_MEANS, "gain: centr*")),
        ),
    ),
    AbstractClaim(
        "cause",
        "They do so by bringing the gradient closer to the unit natural gradient.",
        LAST,
        DecidingTest(
            "causal_claim",
            {BECAUSE: ""},
            f"updates to a training loss of {CAUSAL_LOSS:g} nats with zero means, against the slower of the bias-shift "
            "term alone and the whole unit natural gradient, each at its own tuned learning rate",
            Quantity(
                f"fewer updates with zero means than by the slower of the two ({MARGIN:.0%} granted)",
                f"more updates with zero means than by the slower of the two ({MARGIN:.0%} granted)",
                of_ratio=True,
            ),
            seen=False,
        ),
        (
            Others(
                "causal_claim", ("closer", "closeness", "closed: *", "gain: unit natural gradient, *", "gain: bias*")
            ),
        ),
    ),
    AbstractClaim(
        "bias-shift term",
        "The unit natural gradient differs from the gradient by a bias-shift term.",
        EARLIER,
        DecidingTest(
            "bias_shift_term",
            {"identity": ""},
            "a direct solve with the exact unit Fisher matrices of trained networks, against the gradient with the "
            "term of Theorem 2",
            _DEVIATION,
        ),
        (Others("bias_shift_term", ("zero mean", "differs: *", "only", "closer", "elu below relu")),),
    ),
    AbstractClaim(
        "proportionality",
        "That term is proportional to the mean activation of the incoming units.",
        EARLIER,
        DecidingTest(
            "bias_shift_term",
            {
                "identity": "its direction: a multiple of the vector of means (Theorem 2)",
                "as it is: incoming": "its size: twice the means, twice the term",
            },
            "the term in trained networks, and how its size grows with the means, from what they are",
            _DEVIATION,
            quantities={
                "as it is: incoming": Quantity(
                    "percentage points fewer than half of the units",
                    "percentage points more than half of the units",
                    factor=_PER_CENT,
                )
            },
        ),
        (Others("bias_shift_term", ("as it is: shift*", "as it is: bias*", "as it is: weights*", "small: *")),),
    ),
    AbstractClaim(
        "noise-robust deactivation",
        "Leaky and parametric ReLUs do not ensure a noise-robust deactivation state; ELUs do.",
        LAST,
        DecidingTest(
            "deactivation",
            {_DEEP_NOISE: ""},
            "change of the logits by noise at an off unit, the tenth of the lowest net inputs, over that at an on "
            f"unit, ELU against leaky ReLU of slope {_PAPER_SLOPE:g}",
            Quantity("percentage points less of it", "percentage points more of it", factor=_PER_CENT),
        ),
        (Others("deactivation", _of_slopes("off noise", "off to on noise", "deep noise", without=(_DEEP_NOISE,))),),
    ),
    AbstractClaim(
        "saturation",
        "ELUs saturate, which decreases the propagated variation and information.",
        LAST,
        DecidingTest(
            "deactivation",
            {"saturation": ""},
            "change of the logits by noise at an ELU that is off, relative to one that is on",
            Quantity("percent less than of one that is on", "percent more than of one that is on", factor=_PER_CENT),
        ),
        (Others("deactivation", _of_slopes("off variation", "off information", "deep information")),),
    ),
    AbstractClaim(
        "presence",
        "ELUs code the degree of presence of phenomena; they do not quantitatively model the degree of their absence.",
        LAST,
        DecidingTest(
            "deactivation",
            {"presence": ""},
            "what an ELU says of its net input through noise, while it is on against while it is off",
            Quantity("nats less", "nats more"),
        ),
        (Others("deactivation", ("absence", *_of_slopes("absence"))),),
    ),
    AbstractClaim(
        "interference",
        "Dependencies between ELUs are easier to model, and distinct concepts interfere less.",
        EARLIER,
        DecidingTest(
            "deactivation",
            {_INTERFERENCE: ""},
            "share of the next layer's variance that comes from variation within off states, ELU against leaky ReLU of "
            f"slope {_PAPER_SLOPE:g}",
            Quantity("percentage points less of it", "percentage points more of it", factor=_PER_CENT),
        ),
        (Others("deactivation", ("interference: relu", *_of_slopes("interference", without=(_INTERFERENCE,)))),),
    ),
    AbstractClaim(
        "generalisation",
        "ELUs generalise better than ReLUs and leaky ReLUs on networks with more than 5 (earlier: 4) layers.",
        LAST,
        DecidingTest(
            "depth",
            {f"above 5: {rival}": words for rival, words in _RECTIFIERS.items()},
            "test error, mean over depths above 5 hidden layers, each at its own tuned learning rate",
            Quantity("percentage points more test error", "percentage points less test error"),
            seen=False,
        ),
        (Others("depth", ("above 4: *", "opening: *")),),
    ),
    AbstractClaim(
        "batch normalisation",
        "On CIFAR-100 ELU networks outperform ReLU networks with batch normalisation, which does not improve ELU's.",
        LAST,
        DecidingTest(
            "cifar",
            {
                BELOW_NORMALISED: "ELU against ReLU with batch normalisation",
                NOT_IMPROVED: f"ELU with batch normalisation against ELU ({NORMALISATION_MARGIN:g} points granted)",
            },
            "test error of the paper's 11-layer convolutional network",
            Quantity("percentage points less test error", "percentage points more test error"),
            seen=False,
        ),
        (Others("cifar", ("elu below *relu",)),),
    ),
    AbstractClaim(
        "CIFAR",
        "ELU networks are among the ten best on CIFAR-10 and the best on CIFAR-100.",
        LAST,
        untested="the paper's 18-layer convolutional network, on a GPU, and the ranking as it was in 2015",
    ),
    AbstractClaim(
        "ImageNet",
        "On ImageNet ELU networks considerably speed up learning compared with ReLU networks; top-5 error below 10 %.",
        LAST,
        untested="ImageNet, and many days of a GPU",
    ),
)
"""Which tests decide was chosen with the records of all but `dose_response` and `causal_claim` seen: they were measured
for stated claims, of which one each is taken here."""
