"""What theory says of every layer of a network for a user's own data: `predict_layers`."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pandas

from elutheory.activations.activation_function import as_activation
from elutheory.errors import InputError
from elutheory.gram.wide_layers import STATISTICS, HiddenLayer, layer_statistics_table
from elutheory.models.plain_networks import is_network, plain_layers
from elutheory.numerics.arguments import check_whole, real_number
from elutheory.output.files import check_output, write_whole
from elutheory.propagation.initialisations import initialisation as named_initialisation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMAT = "elutheory.layer_predictions.1"
_PANELS = ("unit_mean_median", "mean_share", "gradient_variance", "top_fisher_share")


@dataclass(frozen=True, eq=False)
class LayerPredictions:
    """What `predict_layers` found.

    - `table`: one row per hidden layer: `layer` (its name in the model, else its number), `activation`, `width`,
      `weight_variance`, `bias_variance`, and the columns of `elutheory.gram.wide_layers.STATISTICS`;
    - `examples`: of how many inputs the Gram matrix is.

    >>> import elutheory as et, numpy
    >>> inputs = numpy.random.default_rng(0).normal(size=(50, 20))
    >>> found = et.predict_layers("relu", inputs, depth=2, weight_variance=2.0)
    >>> found.examples, list(found.table["layer"])
    (50, ['1', '2'])
    """

    table: pandas.DataFrame
    examples: int

    def plot(self) -> "Figure":
        """A matplotlib figure by layer: unit means with their spread, mean share, gradient variance, Fisher share."""
        # matplotlib only where a figure is drawn
        from matplotlib.figure import Figure  # noqa: PLC0415

        made = Figure(figsize=(7.2, 5.0), layout="constrained")
        for axis, column in zip(made.subplots(2, 2).flat, _PANELS, strict=True):
            numbers = range(1, len(self.table) + 1)
            axis.plot(numbers, self.table[column], marker=".")
            if column == "unit_mean_median":
                spread = self.table["unit_mean_std"]
                axis.fill_between(numbers, self.table[column] - spread, self.table[column] + spread, alpha=0.2)
            if column == "gradient_variance":
                axis.set_yscale("log")
            axis.set_xlabel("layer")
            axis.set_title(column.replace("_", " "))
        return made

    def to_json(self) -> str:
        """The table as rows; NaN is null."""
        rows = json.loads(str(self.table.to_json(orient="records", double_precision=15)))
        return json.dumps({"format": _FORMAT, "examples": self.examples, "table": rows}, indent=1)

    def save(self, path: Path | str) -> None:
        """Writes a JSON file, whole or not at all."""
        check_output(Path(path))
        write_whole(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> "LayerPredictions":
        """What `save` wrote. Raises InputError for a file that is missing, corrupt or of another kind."""
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}; name a file that LayerPredictions.save wrote.")
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise ValueError("format")
            table = pandas.DataFrame(found["table"]).astype(dict.fromkeys(STATISTICS, float))
            return cls(table, found["examples"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no file that LayerPredictions.save wrote.") from error

    def __str__(self) -> str:
        return f"{self._title}\n{self.table.to_string(index=False, float_format='{:.3g}'.format)}"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, float_format="{:.3g}".format)
        return f"<p>{html.escape(self._title)}</p>{table}"

    @property
    def _title(self) -> str:
        return f"Predicted for random weights and {self.examples:,} inputs, widths infinite (P2, P4, P5, B5)"


def predict_layers(
    activation_or_model: Any,
    inputs: Any,
    depth: int | None = None,
    weight_variance: Any = None,
    bias_variance: Any = None,
    *,
    initialisation: str | None = None,
    width: int | None = None,
    damping: float = 1e-2,
    examples: int = 512,
    seed: int = 0,
    batch_norm: bool = False,
    residual: bool = False,
    progress: bool | None = None,
) -> LayerPredictions:
    """What theory says of every hidden layer of a random network for these inputs, through their whole Gram matrix.

    - `activation_or_model`: a network of `Linear` layers and activation functions, whose activations, widths and
      variances (fan_in × mean square of the weights, as they are) are read off; or an activation, by name, as an
      `Activation` or as a module, the same in `depth` layers; or a sequence of them, one a layer;
    - `weight_variance` = fan_in × Var(w) and `bias_variance`, one number or one per layer; or `initialisation`: a name
      that `elutheory.initialisation` knows, for each layer's own activation. Not with a model, which has its own;
    - `inputs` (examples, ...): numpy or torch; further axes are joined. More than `examples` of them are drawn from,
      with `seed`;
    - `width`: units per layer, needed for `bias_shift_strength` alone, at `damping` times the mean square activation;
    - `batch_norm`, `residual`: as in `propagate_gram`;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Widths are infinite: a network of finite width deviates, by more the deeper it is (P6). Raises InputError for a
    model of other modules, for inputs that are no finite numbers, and for fewer than two of them.

    >>> import elutheory as et, numpy
    >>> inputs = numpy.random.default_rng(0).normal(size=(50, 20))
    >>> found = et.predict_layers("elu", inputs, depth=3, initialisation="critical")
    >>> found.table["mean_share"].is_monotonic_increasing
    True
    """
    matrix = _matrix(inputs, examples, seed)
    check_whole("depth", 1 if depth is None else depth)
    if width is not None:
        check_whole("width", width)
    if is_network(activation_or_model):
        given = (depth, weight_variance, bias_variance, initialisation, width)
        if any(value is not None for value in given):
            raise InputError("a model has its own depth, width and variances; leave these out, or give an activation.")
        names, layers = _of_model(activation_or_model, matrix.shape[1])
    else:
        layers = _of_activations(activation_or_model, depth, weight_variance, bias_variance, initialisation, width)
        names = [str(number + 1) for number in range(len(layers))]
    gram = matrix @ matrix.T / matrix.shape[1]
    damping = real_number("damping", damping, positive=True)
    found = layer_statistics_table(
        layers, gram, matrix.shape[1], damping, batch_norm=batch_norm, residual=residual, progress=progress
    )
    described = pandas.DataFrame(
        {
            "layer": names,
            "activation": [str(layer.activation) for layer in layers],
            "width": pandas.array([layer.width for layer in layers], dtype="Int64"),
            "weight_variance": [layer.weight_variance for layer in layers],
            "bias_variance": [layer.bias_variance for layer in layers],
        }
    )
    return LayerPredictions(pandas.concat([described, found], axis=1), len(matrix))


def _matrix(inputs: Any, most: int, seed: int) -> Any:
    """Inputs as (examples, features) in float64."""
    check_whole("examples", most)
    values = inputs.detach().cpu().numpy() if hasattr(inputs, "detach") else numpy.asarray(inputs)
    if values.dtype.kind not in "biuf" or values.ndim < 2 or len(values) < 2:
        raise InputError(
            f"inputs are {values.dtype} of shape {values.shape}; real numbers (examples, features), at least two "
            "examples, are needed."
        )
    matrix = values.reshape(len(values), -1).astype(numpy.float64)
    if len(matrix) > most:
        matrix = matrix[numpy.random.default_rng(seed).permutation(len(matrix))[:most]]
    if not numpy.isfinite(matrix).all():
        raise InputError("inputs contain NaN or infinity; every number must be finite.")
    return matrix


def _of_model(model: Any, features: int) -> tuple[list[str], list[HiddenLayer]]:
    names, layers = [], []
    for layer in plain_layers(model):
        names.append(layer.name)
        layers.append(HiddenLayer(layer.activation, layer.weight_variance, layer.bias_variance, layer.width))
        if len(layers) == 1 and layer.fan_in != features:
            raise InputError(f"inputs have {features} features; the model's first layer takes {layer.fan_in}.")
    return names, layers


def _of_activations(
    activations: Any, depth: int | None, weight_variance: Any, bias_variance: Any, name: str | None, width: int | None
) -> list[HiddenLayer]:
    several = isinstance(activations, Sequence) and not isinstance(activations, str)
    functions = [as_activation(one) for one in activations] if several else [as_activation(activations)]
    if several and depth not in (None, len(functions)):
        raise InputError(f"depth is {depth} for {len(functions)} activations; one per layer is needed.")
    if not several:
        if depth is None:
            raise InputError("depth is needed: how many hidden layers have this activation.")
        functions = functions * depth
    if not functions:
        raise InputError("no activation is given; one per hidden layer is needed.")
    if (weight_variance is None) == (name is None):
        raise InputError("give either weight_variance, or the name of an initialisation.")
    if name is not None:
        if bias_variance is not None:
            raise InputError("an initialisation has a bias variance of its own; leave bias_variance out.")
        found = [named_initialisation(name, f) for f in functions]
        return [
            HiddenLayer(f, one.weight_variance, one.bias_variance, width)
            for f, one in zip(functions, found, strict=True)
        ]
    weights = _each("weight_variance", weight_variance, len(functions))
    biases = _each("bias_variance", 0.0 if bias_variance is None else bias_variance, len(functions))
    return [HiddenLayer(f, w, b, width) for f, w, b in zip(functions, weights, biases, strict=True)]


def _each(name: str, value: Any, count: int) -> list[float]:
    values = list(value) if isinstance(value, Sequence | numpy.ndarray) else [value] * count
    if len(values) != count:
        raise InputError(f"{name} has {len(values)} numbers for {count} layers; one per layer is needed.")
    return [real_number(name, one) for one in values]
