"""What commands and results share: files, options, reports, figures.

Nothing here knows of the theory: words, numbers, formulas and curves are handed in.

- `files.py`: output files, checked before any work and written whole or not at all;
- `command_line.py`: options of a command, its exit codes, its errors in one sentence, its report printed or written;
- `checksums.py`: files that hold the checksum of all their bytes;
- `csv_text.py`: tables as comma-separated text in which a spreadsheet finds no formula;
- `domains.py`: what an option may be, declared beside its type;
- `interruption.py`: Ctrl-C while a command loads, and while it has something to keep;
- `document.py`: a report as blocks that write themselves as text, Markdown, LaTeX and HTML; numbers in few characters;
- `progress.py`: a bar with the time left, of long calls;
- `latex.py`: running words in LaTeX;
- `short_labels.py`: names of layers in few letters that still differ;
- `layer_figure.py`: figures with a model's layers along the axis, their labels short and different;
- `figures.py`: the one look of all figures: an activation's colour, settings, bytes that repeat.

Start reading in `document.py`. A command of its own is `elutheory/propagation/command.py`, with `report.py` and
`figure.py` beside it.
"""
