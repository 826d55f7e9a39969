"""Theorems 1 and 2 (B1–B3) put to work: derived, checked step by step, and measured on handwritten digits.

The bias shift of a unit is the change of its mean net input that an update of its incoming weights brings about.
Theorem 1 gives the unit natural gradient, Theorem 2 the bias shift that it brings about. The command
`python -m elutheory.bias_shift` derives both from the lemmas (L1, L2), then trains small classifiers and compares the
theorems with direct solves of their units' exact Fisher matrices (F1–F3).

- `command.py`: the options and what is done with them; start reading here;
- `digits.py`: the classifiers, their training, and what is measured of their layers;
- `report.py`: the words, the table and the JSON, whose shape is `elutheory/bias_shift.schema.json`.
"""
