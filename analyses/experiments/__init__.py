"""The analyses, a module or a folder each; `python -m analyses NAME` runs one.

A small one is a module. A folder has the same parts in files of the same names, each using only those before it:

- `settings.py`: Config, PRESETS, COLUMNS, and the setting in words;
- `measurement.py`: `cells`, `measure_cell`, `measure`, with what is measured in further files beside it;
- `verdicts.py`: the claims, `decisions` and `summary`, from the table alone;
- `figure.py`: `draw`, from the table alone.

The docstring of the folder says what is asked and how. No analysis imports another. A new one needs Config, PRESETS and
`draw` to be listed.
"""
