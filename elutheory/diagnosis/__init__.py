"""Where the bias shift is in a torch model."""

from elutheory.diagnosis.model_diagnosis import Diagnosis as Diagnosis
from elutheory.diagnosis.model_diagnosis import diagnose as diagnose
