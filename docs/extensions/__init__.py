"""What the pages need of Sphinx beyond its own extensions.

- `mathml`: formulas as MathML, which reads offline;
- `theory_links`: `et.NAME`, numbers of statements and names of derivations lead to their pages;
- `derivation_pages`: every derivation, verified while the page is made;
- `public_names`: the reference, from the stub that lists every public name;
- `docstrings`: the package's docstrings as reStructuredText;
- `benchmark_tables`: what was measured beside other packages.
"""
