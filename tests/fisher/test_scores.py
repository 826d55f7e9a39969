"""Scores against torch.func's per-example gradients with respect to the weights themselves, label by label."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from elutheory.errors import InputError
from elutheory.fisher import Bernoulli, Categorical, Gaussian, LayerScores, Likelihood, layer_scores, model_scores
from tests.references.plain_fisher import plain_scores

LIKELIHOODS = [Categorical(), Bernoulli(), Gaussian(0.3)]
ACTIVATIONS = [nn.ELU(inplace=True), nn.Tanh(), nn.GELU(), nn.LeakyReLU(inplace=True), nn.Softplus()]


def network(
    *, bias: bool = True, activation: nn.Module | None = None, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    torch.manual_seed(3)
    middle = nn.Linear(4, 3, bias=bias)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), middle, activation or nn.ELU(), nn.Linear(3, 4)).to(dtype)


def data(examples: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(examples, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)


def per_example(scores: LayerScores) -> Tensor:
    """s[c, n, u] as documented, unit by unit: (columns, examples, units, coordinates)."""
    columns = []
    units = scores.deltas.shape[-1]
    for unit in range(units):
        incoming = scores.incoming[:, unit // (units // scores.incoming.shape[1])]
        ones = torch.ones_like(incoming[..., :1])
        coordinates = torch.cat([ones, incoming], dim=-1) if scores.has_bias else incoming
        columns.append(torch.einsum("cnp,npi->cni", scores.deltas[..., unit], coordinates))
    return torch.stack(columns, dim=2)


def gradients(model: nn.Module, inputs: Tensor, layer: str, value: Callable[..., Tensor], *others: Tensor) -> Tensor:
    """d value(outputs of example n, others[n]) / d (bias, weight) of every unit: (examples, units, coordinates)."""
    prefix = f"{layer}." if layer else ""
    own = {name: tensor.detach() for name, tensor in model.get_submodule(layer).named_parameters()}

    def of_one(parameters: dict[str, Tensor], example: Tensor, *rest: Tensor) -> Tensor:
        renamed = {prefix + name: parameter for name, parameter in parameters.items()}
        return value(functional_call(model, renamed, (example[None],)), *[other[None] for other in rest])

    taken = vmap(grad(of_one), in_dims=(None, 0, *[0] * len(others)))(own, inputs, *others)
    weight = taken["weight"].flatten(2)
    return torch.cat([taken["bias"][..., None], weight], dim=-1) if "bias" in taken else weight


def labels_with_probabilities(likelihood: Likelihood, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Labels and probabilities (examples,) with the score's exact second moment, for outputs (examples, classes)."""
    examples, classes = outputs.shape
    if isinstance(likelihood, Categorical):
        for label, probability in enumerate(outputs.softmax(1).T):
            yield torch.full((examples,), label), probability
    elif isinstance(likelihood, Bernoulli):
        for label in torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * classes).reshape(-1, classes):
            label = label.to(outputs.dtype).expand(examples, classes)
            yield label, torch.distributions.Bernoulli(logits=outputs).log_prob(label).sum(1).exp()
    else:
        # A Gaussian's score is linear in the label: two labels an output, √classes standard deviations away.
        assert isinstance(likelihood, Gaussian)
        step = (classes * likelihood.variance) ** 0.5 * torch.eye(classes, dtype=outputs.dtype)
        for move in torch.cat([step, -step]):
            yield outputs + move, torch.full((examples,), 0.5 / classes, dtype=outputs.dtype)


def log_density(likelihood: Likelihood, outputs: Tensor, targets: Tensor) -> Tensor:
    """ln p(targets | outputs) by torch's own functions."""
    if isinstance(likelihood, Categorical):
        return -nn.functional.cross_entropy(outputs, targets, reduction="sum")
    if isinstance(likelihood, Bernoulli):
        return -nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="sum")
    assert isinstance(likelihood, Gaussian)
    return -0.5 * (outputs - targets).square().sum() / likelihood.variance


def check_against_every_label(model: nn.Module, inputs: Tensor, layer: str, likelihood: Likelihood) -> None:
    """Σ_c s sᵀ of every example and unit, against E_y of the outer products of per-example gradients."""
    with torch.no_grad():
        outputs = model(inputs)
    expected = torch.zeros((), dtype=outputs.dtype)
    for position in range(1 if outputs.ndim == 2 else outputs.shape[1]):

        def chosen(returned: Tensor, position: int = position) -> Tensor:
            return returned if returned.ndim == 2 else returned[:, position]

        for labels, probability in labels_with_probabilities(likelihood, chosen(outputs)):
            score = gradients(model, inputs, layer, lambda out, y, f=chosen: log_density(likelihood, f(out), y), labels)
            expected = expected + probability[:, None, None, None] * score[..., :, None] * score[..., None, :]
    scores = layer_scores(model, inputs, layer, likelihood=likelihood)
    assert scores.deltas.shape[0] == outputs[0].numel()
    s = per_example(scores)
    actual = torch.einsum("cnui,cnuj->nuij", s, s)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12 * max(1.0, expected.abs().max().item()))


class Applied(nn.Module):
    """`function` of what the network returns."""

    def __init__(self, network: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.network(inputs))


@st.composite
def perceptrons(draw: st.DrawFn) -> tuple[nn.Module, Tensor, str]:
    """Linear layers on (batch, features), or on sequences with one, two or no middle axes, pooled or not."""
    torch.manual_seed(draw(st.integers(0, 99)))
    widths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    middle = draw(st.sampled_from([(), (3,), (2, 2)]))
    layers: list[nn.Module] = []
    for fan_in, units in zip([3, *widths], [*widths, 3], strict=True):
        layers += [nn.Linear(fan_in, units, bias=draw(st.booleans())), draw(st.sampled_from(ACTIVATIONS))]
    if draw(st.booleans()):
        layers.insert(2, nn.LayerNorm(widths[0]))
    model: nn.Module = nn.Sequential(*layers[:-1])
    index = draw(st.sampled_from([i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]))
    if middle and (len(middle) == 2 or draw(st.booleans())):
        model = Applied(model, lambda out: (out * out).flatten(1, -2).mean(1))
        name = f"network.{index}"
    else:
        name = str(index)
    return model.double(), torch.randn(draw(st.integers(1, 4)), *middle, 3, dtype=torch.float64), name


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor, str]:
    """Two convolutions with strides, paddings, dilations and groups, and a Linear on what they leave."""
    torch.manual_seed(draw(st.integers(0, 99)))
    dimension = draw(st.integers(1, 3))
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimension - 1]
    each = st.tuples(*[st.integers(1, 2)] * dimension)
    convolutions, groups, channels = [], draw(st.sampled_from([1, 2])), 2
    for _ in range(2):
        stride, dilation = draw(each), draw(each)
        kernel = draw(st.tuples(*[st.integers(1, 3)] * dimension))
        padding = draw(st.one_of(each, st.just("valid"), st.just("same")))
        if padding == "same":
            stride = (1,) * dimension
        mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
        convolutions.append(
            kind(channels, 4, kernel, stride, padding, dilation, groups, draw(st.booleans()), mode).double()
        )
        channels = 4
    size = {1: 12, 2: 11, 3: 9}[dimension]
    inputs = torch.randn(draw(st.integers(1, 2)), 2, *range(size, size + dimension), dtype=torch.float64)
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimension - 1](2)
    model = nn.Sequential(
        convolutions[0],
        draw(st.sampled_from(ACTIVATIONS)),
        convolutions[1],
        nn.GroupNorm(2, 4),
        pool,
        nn.Flatten(),
        nn.Tanh(),
        nn.Linear(4 * 2**dimension, 3),
    )
    return model.double(), inputs, draw(st.sampled_from(["0", "2"]))


@settings(derandomize=True, database=None)
@given(perceptrons(), st.sampled_from(LIKELIHOODS))
def test_perceptrons_on_vectors_and_sequences(drawn: tuple[nn.Module, Tensor, str], likelihood: Likelihood) -> None:
    check_against_every_label(*drawn, likelihood)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@settings(derandomize=True, database=None)
@given(convolutions(), st.sampled_from(LIKELIHOODS))
def test_convolutions(drawn: tuple[nn.Module, Tensor, str], likelihood: Likelihood) -> None:
    check_against_every_label(*drawn, likelihood)


class Repeated(nn.Module):
    """`first` runs several times, `last` once; what is left over of `first` is called by keyword."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.first, self.last, self.runs = nn.Linear(5, 5), nn.Linear(5, 3), runs

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.runs):
            x = self.first(input=x).tanh_()
        return self.last(x)


class Residual(nn.Module):
    """Changes the input of `first` after the call, in place or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.first, self.last, self.in_place = nn.Linear(5, 5), nn.Linear(5, 3), in_place

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        branch = self.first(x).sin()
        return self.last(x.add_(branch).tanh_() if self.in_place else (x + branch).tanh())


class Checkpointed(nn.Module):
    """The first two layers are called again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4), nn.ELU()), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.first, x, use_reentrant=False))


class Attention(nn.Module):
    """A classifier of sequences, normalised in the three ways that keep examples apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor, scale: float = 1.0) -> Tensor:
        return self.head(self.norm(self.encoder(self.embedding(tokens)).mean(1))) * scale


@pytest.mark.parametrize("layer", ["first", "last"])
@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5)])
def test_layers_used_several_times(runs: int, layer: str, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check_against_every_label(Repeated(runs).double(), inputs, layer, Categorical())


@pytest.mark.parametrize("layer", ["first", "last"])
def test_input_changed_in_place(layer: str) -> None:
    plain, in_place = Residual(in_place=False).double(), Residual(in_place=True).double()
    in_place.load_state_dict(plain.state_dict())
    check_against_every_label(plain, data(), layer, Categorical())
    actual, expected = layer_scores(in_place, data(), layer), layer_scores(plain, data(), layer)
    assert torch.equal(actual.incoming, expected.incoming)
    assert torch.equal(actual.deltas, expected.deltas)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layer", ["encoder.linear1", "encoder.linear2", "head"])
def test_transformer(layer: str) -> None:
    torch.manual_seed(0)
    model = Attention().double().eval()
    tokens = torch.tensor([[0, 3, 6], [1, 1, 2]])
    # Reference: gradients one example and label at a time, by plain autograd.
    linear = model.get_submodule(layer)
    scores = layer_scores(model, tokens, layer)
    second_moments = 0.0
    for label in range(3):
        rows = []
        for example in tokens:
            log_probability = model(example[None]).log_softmax(1)[0, label]
            weight, bias = torch.autograd.grad(log_probability, [linear.weight, linear.bias])
            rows.append(torch.cat([bias[:, None], weight], dim=1))
        score = torch.stack(rows)
        probability = model(tokens).softmax(1)[:, label].detach()
        second_moments = second_moments + probability[:, None, None, None] * score[..., :, None] * score[..., None, :]
    s = per_example(scores)
    torch.testing.assert_close(torch.einsum("cnui,cnuj->nuij", s, s), second_moments, rtol=1e-12, atol=1e-13)


def test_exact_scores_are_the_plain_ones() -> None:
    model, inputs = network(), data()
    for layer in ("0", "2", "4"):
        ours, plain = layer_scores(model, inputs, layer), plain_scores(model, inputs, layer)
        columns = (plain.probabilities.sqrt()[:, :, None] * plain.deltas).movedim(1, 0)
        torch.testing.assert_close(ours.deltas[:, :, 0], columns, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(ours.squared_deltas()[:, 0], plain.squared_deltas(), rtol=1e-12, atol=1e-15)
        assert torch.equal(ours.incoming[:, 0, 0], plain.incoming)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_monte_carlo_columns_are_sampled_scores(likelihood: Likelihood) -> None:
    model, inputs, samples = network(), data(), 7
    scores = layer_scores(
        model, inputs, "2", "monte_carlo", likelihood, samples=samples, generator=torch.Generator().manual_seed(8)
    )
    with torch.no_grad():
        drawn = likelihood.sample(model(inputs), samples, torch.Generator().manual_seed(8))
    for column, labels in zip(per_example(scores), drawn, strict=True):
        expected = gradients(model, inputs, "2", lambda out, y: log_density(likelihood, out, y), labels)
        torch.testing.assert_close(column * samples**0.5, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
@pytest.mark.parametrize("bias", [True, False])
def test_empirical_scores_are_the_gradients_at_the_targets(likelihood: Likelihood, bias: bool) -> None:
    model, inputs = network(bias=bias), data()
    with torch.no_grad():
        targets = likelihood.sample(model(inputs), 1, torch.Generator().manual_seed(2))[0]
    scores = layer_scores(model, inputs, "2", "empirical", likelihood, targets=targets)
    expected = gradients(model, inputs, "2", lambda out, y: log_density(likelihood, out, y), targets)
    torch.testing.assert_close(per_example(scores), expected[None], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(scores.gradient(), -expected.mean(0), rtol=1e-12, atol=1e-14)
    with pytest.raises(InputError, match="kind 'exact' have no targets"):
        layer_scores(model, inputs, "2").gradient()


def test_gradient_of_a_grouped_convolution_is_that_of_the_loss() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.ELU(), nn.Flatten(), nn.Linear(54, 3)).double()
    inputs, labels = torch.randn(4, 4, 5, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    scores = layer_scores(model, inputs, "0", "empirical", targets=labels)
    assert (scores.examples, scores.units_per_group) == (4, 3)
    assert scores.incoming.shape == (4, 2, 9, 18)
    loss = nn.functional.cross_entropy(model(inputs), labels)
    weight, bias = torch.autograd.grad(loss, [model[0].weight, model[0].bias])
    expected = torch.cat([bias[:, None], weight.flatten(1)], dim=1)
    torch.testing.assert_close(scores.gradient(), expected, rtol=1e-12, atol=1e-14)
    for unit in range(6):
        alone = scores.unit(unit)
        torch.testing.assert_close(alone.gradient(), expected[unit, None], rtol=1e-12, atol=1e-14)
    basis = torch.linalg.qr(torch.randn(18, 5, dtype=torch.float64)).Q
    torch.testing.assert_close(scores.project(basis).gradient()[:, 1:], expected[:, 1:] @ basis, rtol=1e-11, atol=1e-13)


def test_scores_have_zero_mean_under_the_model() -> None:
    scores = layer_scores(network(), data(), "2")
    roots = network()(data()).softmax(1).sqrt().detach()
    mean = torch.einsum("yn,ynpu->nu", roots.T, scores.deltas)  # E_y[d ln p / d net] = 0, always
    assert mean.abs().max() < 1e-15 < scores.deltas.abs().max()


def test_several_layers_from_one_forward_pass() -> None:
    model, inputs = Repeated(2).double(), data()
    together = model_scores(model, inputs, kind="monte_carlo", samples=3, generator=torch.Generator().manual_seed(1))
    assert list(together.layers) == ["first", "last"]
    assert together.refused == {}
    torch.testing.assert_close(together.outputs, model(inputs).detach())
    for name, scores in together.layers.items():
        alone = layer_scores(model, inputs, name, "monte_carlo", samples=3, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(scores.deltas, alone.deltas, rtol=1e-13, atol=1e-15)
        assert torch.equal(scores.incoming, alone.incoming)


def test_one_layer_refused_does_not_stop_the_others() -> None:
    model = Attention().eval()
    scores = model_scores(model, torch.tensor([[0, 3, 6], [1, 1, 2]]))
    attention = [f"encoder.self_attn.{part}" for part in ("q", "k", "v", "out_proj")]
    assert list(scores.layers) == ["embedding", *attention, "encoder.linear1", "encoder.linear2", "head"]
    assert scores.refused == {}
    model.unused = nn.Linear(2, 2, dtype=torch.float64)
    scores = model_scores(model, torch.tensor([[0, 3, 6], [1, 1, 2]]))
    assert list(scores.refused) == ["unused"]
    assert len(scores.layers) == 8


def test_mappings_and_outputs_with_logits() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Attention()

        def forward(self, tokens: Tensor, scale: float) -> SimpleNamespace:
            return SimpleNamespace(logits=self.inner(tokens, scale), loss=None)

    model, tokens = Wrapped().eval(), torch.tensor([[0, 3, 6], [1, 1, 2]])
    scores = layer_scores(model, {"tokens": tokens, "scale": 2.0}, "inner.head")
    bare = layer_scores(model.inner, {"tokens": tokens, "scale": 2.0}, "head")
    assert torch.equal(scores.deltas, bare.deltas)
    shared = layer_scores(model, {"tokens": tokens, "scale": torch.full((1,), 2.0)}, "inner.head")
    assert torch.equal(shared.deltas, bare.deltas)
    with pytest.raises(InputError, match=r"inputs have \[2, 7\] examples"):
        layer_scores(model, {"tokens": tokens, "scale": torch.ones(7)}, "inner.head")


def test_checkpointed_model() -> None:
    model = Checkpointed().double()
    for layer in ("first.0", "first.2", "last"):
        plain = nn.Sequential(*model.first, model.last)
        same = {"first.0": "0", "first.2": "2", "last": "4"}[layer]
        actual, expected = layer_scores(model, data(), layer), layer_scores(plain, data(), same)
        torch.testing.assert_close(actual.deltas, expected.deltas, rtol=1e-13, atol=1e-15)
        assert actual.incoming.shape == expected.incoming.shape


def test_model_is_left_as_it_was() -> None:
    model = network(activation=nn.ELU(inplace=True))
    expected = layer_scores(network(), data(), "2").deltas
    parameters = dict(model.named_parameters())
    for frozen in (False, True):
        parameters["0.weight"].requires_grad_(False)
        for parameter in parameters.values() if frozen else ():
            parameter.requires_grad_(False)
        required = {name: parameter.requires_grad for name, parameter in parameters.items()}
        with torch.no_grad():
            scores = layer_scores(model, data(), "2")
        with pytest.raises(InputError, match="the model fails on inputs"):
            layer_scores(model, data()[:, :3], "0")  # the layer itself raises
        assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == required
        assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert not scores.deltas.requires_grad
        assert not scores.incoming.requires_grad
        torch.testing.assert_close(scores.deltas, expected)


def test_works_in_inference_mode() -> None:
    expected = layer_scores(network(), data(), "2").deltas
    model = network()
    with torch.inference_mode():
        scores = layer_scores(model, data(), "2")
    assert torch.equal(scores.deltas, expected)
    with torch.inference_mode():
        model = network()
    with pytest.raises(InputError, match=r"parameter '0\.weight' was made in inference mode"):
        layer_scores(model, data(), "2")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["exact", "monte_carlo", "empirical"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_dtype_is_the_models(dtype: torch.dtype, default: torch.dtype, kind: str, likelihood: Likelihood) -> None:
    model, inputs = network(dtype=dtype), data(dtype=dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        targets = torch.zeros(6, dtype=torch.int64) if likelihood == Categorical() else torch.zeros(6, 4, dtype=dtype)
        scores = layer_scores(model, inputs, "2", kind, likelihood, targets=targets)
    finally:
        torch.set_default_dtype(before)
    assert scores.incoming.dtype == scores.deltas.dtype == scores.squared_deltas().dtype == dtype


class Sidetrack(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        self.first(x)
        return self.last(x)


class Detached(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.first(x)
        return self.last(x)


class BatchCentred(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(x - self.first(x).mean(0))


class FunctionalDropout(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.dropout(self.first(x), 0.5))


class DropPath(Repeated):
    """Leaves `first` out once in ten thousand."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) if torch.rand(()) > 1e-4 else x)


class BatchNormalised(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.batch_norm(self.first(x), None, None, training=True))


class Stashed(Repeated):
    """Uses the weights of `first` once more, from a list, and transposed."""

    def __init__(self) -> None:
        super().__init__(1)
        self.stash = [self.first.weight]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.linear(self.first(x), self.stash[0].T))


class TimeFirst(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.transpose(0, 1)).transpose(0, 1).mean(1))


class BatchFirst(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).mean(1))


def test_layers_inside_may_have_their_examples_along_another_axis() -> None:
    """The axis is that which shrinks when one example is run alone, though both axes are of the same length."""
    time_first, batch_first = TimeFirst(1).double(), BatchFirst(1).double()
    batch_first.load_state_dict(time_first.state_dict())
    found, expected = (layer_scores(model, SEQUENCE, "first") for model in (time_first, batch_first))
    torch.testing.assert_close(found.incoming, expected.incoming, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.deltas, expected.deltas, rtol=1e-12, atol=1e-14)


class TokensInTheBatch(Repeated):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(0, 1).tanh())).reshape(len(x), -1, 3)


def weight_normalised() -> nn.Module:
    model = network()
    nn.utils.parametrizations.weight_norm(model[2])
    return model


def infinite() -> nn.Module:
    model = network()
    model[4].weight.data.fill_(float("inf"))
    return model


SEQUENCE = torch.randn(5, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
REFUSED = {
    "unknown": (network, data(), "7", r"no layer '7'; the layers are '0', '2', '4'"),
    "not a layer": (network, data(), "1", r"layer '1' is a Tanh, not a layer whose units have weights"),
    "dropout": (lambda: network(activation=nn.Dropout()), data(), "2", r"Dropout '3' is in training mode"),
    "batch norm": (lambda: network(activation=nn.BatchNorm1d(3)), data(), "2", r"BatchNorm1d '3' is in training mode"),
    "batch norm without statistics": (
        lambda: network(activation=nn.BatchNorm1d(3, track_running_stats=False)).eval(),
        data(),
        "2",
        r"BatchNorm1d '3' keeps no running statistics",
    ),
    "attention dropout": (
        lambda: nn.Sequential(nn.MultiheadAttention(4, 2, 0.1)),
        data(),
        "0.out_proj",
        r"MultiheadAttention '0' is in training mode",
    ),
    "functional dropout": (lambda: FunctionalDropout(1).double(), data(), "first", "draws random numbers"),
    "drop path": (lambda: DropPath(1).double(), data(), "first", "draws random numbers in its forward pass"),
    "batch centred": (
        lambda: BatchCentred(1).double(),
        data(),
        "first",
        r"every example must be computed by itself.* change by \S+ when it is run alone",
    ),
    "functional batch norm": (
        lambda: BatchNormalised(1).double(),
        data(),
        "first",
        r"every example must be computed by itself.*run on one of them alone the model fails: Expected more than 1",
    ),
    "never runs": (lambda: Repeated(0).double(), data(), "first", r"layer 'first' is never executed"),
    "no influence": (lambda: Sidetrack(1).double(), data(), "first", r"outputs do not depend on layer 'first'"),
    "no_grad": (lambda: Detached(1).double(), data(), "first", r"outputs do not depend on layer 'first'"),
    "stashed weight": (
        lambda: Stashed().double(),
        data(),
        "first",
        r"layer 'first' has its weight used in two ways",
    ),
    "weight norm": (weight_normalised, data(), "2", r"layer '2' computes its weight or bias from other parameters"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), data(), "0", "parameter '0.weight' has no values yet; run"),
    "half": (lambda: network(dtype=torch.bfloat16), data(), "2", "layer '2' has weights of torch.bfloat16"),
    "complex": (
        lambda: nn.Sequential(nn.Linear(5, 3, dtype=torch.complex64)),
        data(),
        "0",
        "weights of torch.complex64",
    ),
    "meta": (lambda: network().to("meta"), data(), "2", "parameter '0.weight' is on the meta device"),
    "tokens in the batch": (
        lambda: TokensInTheBatch(1).double(),
        SEQUENCE,
        "first",
        r"receives activations of shape \(25, 5\) for 5 examples; the examples must be the first",
    ),
    "inputs of another dtype": (
        network,
        data().float(),
        "2",
        "inputs are torch.float32 but the layers' weights",
    ),
    "NaN": (network, data() * float("nan"), "2", r"inputs contain NaN or infinity"),
    "empty": (network, data(0), "2", r"inputs have shape \(0, 5\)"),
    "one output": (lambda: nn.Sequential(nn.Linear(5, 1)).double(), data(), "0", r"outputs of shape \(6, 1\)"),
    "tuple of outputs": (lambda: nn.GRU(5, 4).double(), data(), "", r"layer '' is a GRU"),
    "infinite outputs": (infinite, data(), "0", r"outputs contain NaN or infinity"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_that_are_zero_but_for_rounding_are_no_dependence(dtype: torch.dtype) -> None:
    """A sum of activations that cancel: what is left of it is rounding, which changes with the batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 64), nn.Linear(64, 3)).to(dtype)
    inputs = torch.randn(50, 300, dtype=dtype)

    class Cancelled(nn.Module):
        """W a − W a, the second one in another order of summation."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.first(x)
            again = (hidden.flip(-1) @ self.last.weight.detach().flip(-1).T) + self.last.bias.detach()
            return self.last(hidden) - again

    cancelled = Cancelled()
    outputs = cancelled(inputs)
    assert 0 < outputs.abs().max() < 1e3 * torch.finfo(dtype).eps
    layer_scores(cancelled, inputs, "first", likelihood="gaussian")


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    make, inputs, layer, message = REFUSED[case]
    torch.manual_seed(0)
    model = make()
    with pytest.raises(InputError, match=message) as caught:
        layer_scores(model, inputs, layer)
    assert "\n" not in str(caught.value).split("model fails:")[0]
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "true"}, "kind 'true' is not available; 'exact', 'monte_carlo' and 'empirical' are"),
        ({"kind": "empirical"}, "kind 'empirical' takes the scores at the data's labels; give targets"),
        ({"weight_sharing": "sum"}, "weight_sharing 'sum' is not available; 'exact' and 'positionwise' are"),
        ({"samples": 0}, "samples is 0; a whole number, 1 or larger, is needed"),
        ({"likelihood": "poisson"}, "likelihood 'poisson' is not available"),
        ({"kind": "empirical", "targets": torch.tensor([0, 1, 2, 3, 4, 0])}, "targets run from 0 to 4"),
    ],
)
def test_options_outside_their_domain(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer_scores(network(), data(), "2", **options)


def test_evaluation_mode_lifts_the_refusal_of_dropout() -> None:
    model = network(activation=nn.Dropout()).eval()
    assert layer_scores(model, data(), "2").deltas.shape == (4, 6, 1, 3)
    assert layer_scores(network(activation=nn.Dropout(0.0)), data(), "2").deltas.shape == (4, 6, 1, 3)


def test_autocast_is_refused() -> None:
    model, inputs = network(dtype=torch.float32), data(dtype=torch.float32)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(InputError, match=r"torch\.float32 but returned torch\.bfloat16; leave the autocast"),
    ):
        layer_scores(model, inputs, "2")


def test_one_example_is_a_batch() -> None:
    model, inputs = network(), data()
    all_at_once = layer_scores(model, inputs, "2")
    for n in range(len(inputs)):
        alone = layer_scores(model, inputs[n, None], "2")
        torch.testing.assert_close(alone.deltas[:, 0], all_at_once.deltas[:, n], rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(alone.incoming[0], all_at_once.incoming[n], rtol=1e-12, atol=1e-15)
