"""What follows from all records: start with `ledger.py`, which decides every claim of the abstract from them.

- `abstract_claims.py`: the claims, each with the one test that decides it; `effects.py`: effects in natural units.
- `answer.py`: why ELUs learn fast, in a paragraph and a figure made of the records.
- `ledger.py`, `ledger_text.py`: the claims with their verdicts; as text, Markdown and a table.
- `page.py`, `page.html.jinja`, `page.css`, `inline_svg.py`: the report, one HTML file that needs nothing else;
  `narrow_form.py`: its figures for a phone.
- `beside_the_paper.py`: what the paper reports beside what the records say, as a table and a page of docs/.
- `readme.py`: the README's tables.
- `benchmark_record.py`, `benchmark_table.py`: the benchmarks' record, which `benchmarks/` writes, and its table.
- `commands.py`: `python -m analyses answer`, `claims`, `paper`, `report` and `readme`.
"""
