"""One deep random network, layer by layer (P1–P3, P6): what theory predicts at initialisation, nothing fitted.

A layer maps the variance q of a unit's net input and its covariance c between two inputs to those of the next layer
(P1); mean activations, their median over the units (P2) and the factor chi of the gradient's variance (P3) follow.
Widths are infinite, and the first correction in 1/width gives the bands of a finite network (P6).

- `deep_network`: `propagate`, a table with a row per hidden layer; start here;
- `layer_map`: what one layer does to (q, c), and its slopes;
- `stationary_points`: where q and the correlation settle, and the line of criticality;
- `initialisations`: He's, LeCun's, and an activation's own variance-preserving and critical variances;
- `drawn_weights`: `initialise`, one of these applied to a torch model;
- `finite_width`: standard deviations over random networks of a given width;
- `command`, `report`, `figure`: `python -m elutheory.propagation`.
"""

from elutheory.propagation.deep_network import Propagation as Propagation
from elutheory.propagation.deep_network import propagate as propagate
from elutheory.propagation.drawn_weights import initialise as initialise
from elutheory.propagation.initialisations import Initialisation as Initialisation
from elutheory.propagation.initialisations import initialisation as initialisation
from elutheory.propagation.stationary_points import CriticalityLine as CriticalityLine
from elutheory.propagation.stationary_points import FixedPoints as FixedPoints
from elutheory.propagation.stationary_points import criticality_line as criticality_line
from elutheory.propagation.stationary_points import fixed_points as fixed_points
