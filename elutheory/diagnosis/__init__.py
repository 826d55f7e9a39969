"""Where the bias shift is in a torch model."""

from elutheory.diagnosis.model_diagnosis import diagnose as diagnose
from elutheory.diagnosis.results import Diagnosis as Diagnosis
