"""Streamed statistics of every unit's activations."""

from elutheory.statistics.unit_statistics import LayerStatistics as LayerStatistics
from elutheory.statistics.unit_statistics import UnitStatistics as UnitStatistics
from elutheory.statistics.unit_statistics import layer_statistics as layer_statistics
from elutheory.statistics.unit_statistics import observe_layers as observe_layers
