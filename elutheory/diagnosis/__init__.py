"""Where the bias shift is in a torch model, layer by layer, and what the unit natural gradient would change.

One pass over the data gives, for every layer: the mean of its incoming activations beside their spread, with the data
as they are (p) and weighted by the unit's delta² (q, F2, F3); how strong the correction of Theorems 1 and 2 is (B1, B3,
B5) and which bias shift it removes; the spectrum of the unit Fisher matrices; and whether M3 predicts the mean of what
comes out. Run as `python -m elutheory.diagnosis package.module:factory --data digits`.

- `model_diagnosis.py`: `diagnose`, the pass over the data. Start reading here;
- `layer.py`: what the pass adds up for one layer, and the row of the table that it becomes (`COLUMNS`);
- `layer_predictions.py`: `predict_layers`, what theory says of every layer of a random network for these inputs (P4);
- `training_kernel_shares.py`: how much of the model's tangent kernel one direction takes (T5);
- `comparison.py`: `compare`, two diagnoses, statistics or layers' Fisher matrices, before and after;
- `results.py`: `Diagnosis` and its report as text and as a page; `figure.py`: its figure;
- `command.py`: the command.
"""

from elutheory.diagnosis.comparison import Comparison as Comparison
from elutheory.diagnosis.comparison import compare as compare
from elutheory.diagnosis.layer_predictions import LayerPredictions as LayerPredictions
from elutheory.diagnosis.layer_predictions import predict_layers as predict_layers
from elutheory.diagnosis.model_diagnosis import diagnose as diagnose
from elutheory.diagnosis.results import Diagnosis as Diagnosis
