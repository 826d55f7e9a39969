"""How an analysis runs, is kept and decided: nothing here knows what is measured.

An analysis gives `Config`, `PRESETS`, `cells`, `cost`, `measure_cell`, `measure`, `draw` and `summary`, and `decisions`
where it has claims. Start with `sweep.py`, which makes one table of many cells, and `records.py`, which keeps it.

- `catalogue.py`: the analyses there are, by name.
- `command.py`: `python -m analyses NAME`, its options and what it prints.
- `time_limit.py`: a limit of time, after which a run stops in order.
- `run.py`: one analysis from measuring to the record.
- `settings.py`: options that experiments share, and their checks.
- `sweep.py`, `workers.py`: cells in turn, side by side or on a cluster, with progress.
- `kept_cells.py`: finished cells on disk, from which an interrupted sweep goes on.
- `devices.py`, `provenance.py`: where it ran; command, commit and versions that made a record.
- `records.py`: table, provenance and figure, which change together.
- `rates.py`: learning rates tuned by the outcome they are judged by.
- `claims.py`: claims stated before measuring, and their verdicts from paired differences over seeds.
"""
