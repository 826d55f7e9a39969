"""Statistics of every unit's activations, streamed over the data or over a training loop (P2, P2b).

The mean of a unit over the data, its median over the units, and the share of a layer's second moment that is a constant
shift are what the paper's Figure 2 measures and `elutheory.propagation` predicts. Nothing is kept but sums: float64
accumulators, and, for quantiles, the values themselves up to a bound and sketches beyond it.

- `unit_statistics.py`: `layer_statistics` of a model on data, `observe_layers` in a loop of one's own, and what they
  give, `LayerStatistics`: tables, merging, files. Start reading here;
- `figure.py`: their figure;
- `quantiles.py`: quantiles of every unit, exact or by sketches.
"""

from elutheory.statistics.unit_statistics import LayerStatistics as LayerStatistics
from elutheory.statistics.unit_statistics import UnitStatistics as UnitStatistics
from elutheory.statistics.unit_statistics import layer_statistics as layer_statistics
from elutheory.statistics.unit_statistics import observe_layers as observe_layers
