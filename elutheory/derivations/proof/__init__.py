"""What a proof is here: statements with machine checks, symbols that know how they are written, four ways to read it.

- `steps`: a check, a step, an assumption, and the two sides of a statement;
- `derivation`: a chain of steps, verified, written as text, LaTeX, Markdown or HTML;
- `notation`: every symbol, declared once with its written form;
- `printing`: a statement as a line of text, as LaTeX and as presentation MathML.

Start with `steps`. Nothing here knows what is proved.
"""
