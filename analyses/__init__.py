"""Analyses: each measures a tidy table and draws a figure from it; the claims of the paper are decided from the tables.

- `framework/`: how an analysis runs, is kept and decided; start with `sweep.py` and `records.py`.
- `data/`: labelled images as tensors.
- `networks/`: networks and how they learn, many of one shape at once.
- `experiments/`: the analyses themselves.
- `report/`: what follows from all records, the ledger of claims and the report.

`python -m analyses` lists what can be run. A package uses only those above it in this list; `data` and `framework`
stand beside each other.
"""

from elutheory.output.interruption import leave_at_once

leave_at_once("analyses")
