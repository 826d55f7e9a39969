"""One deep random network, layer by layer."""

from elutheory.propagation.deep_network import Propagation as Propagation
from elutheory.propagation.deep_network import propagate as propagate
from elutheory.propagation.initialisations import Initialisation as Initialisation
from elutheory.propagation.initialisations import initialisation as initialisation
from elutheory.propagation.stationary_points import CriticalityLine as CriticalityLine
from elutheory.propagation.stationary_points import FixedPoints as FixedPoints
from elutheory.propagation.stationary_points import criticality_line as criticality_line
from elutheory.propagation.stationary_points import fixed_points as fixed_points
