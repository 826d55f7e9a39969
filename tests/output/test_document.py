"""Blocks of a report in every format, and numbers in few characters: expected writings typed by hand."""

import json
import math

import pytest

from elutheory.output.document import (
    Definitions,
    Document,
    Formula,
    Heading,
    Items,
    Paragraph,
    Section,
    Table,
    Verdict,
    json_number,
    json_text,
    power_of_ten,
    shortened,
)

BLOCKS = (
    Paragraph("A paragraph with Φ & more words than fit."),
    Formula("a = b", "a = b_1", "<math>a</math>"),
    Section("Measured", (Items(("* = first of two", "second"), hanging=4), Table(("x", "k*"), (("1", "2<3"),)))),
    Definitions((("E_p a", "the mean"), ("k", "the factor")), "no bound"),
    Verdict("✓ everything that was said is true."),
)

WRITTEN = {
    "text": """\
A title

A paragraph with Φ &
more words than fit.

a = b

* = first of two
second

x  k*
─────
1 2<3

E_p a  the mean
k      the factor
no bound

✓ everything that was said is true.
""",
    "markdown": r"""# A title

A paragraph with Φ & more words than fit.

$$a = b_1$$

## Measured

- \* = first of two
- second

| x | k\* |
|---:|---:|
| 1 | 2<3 |

- **E_p a**: the mean
- **k**: the factor
- no bound

✓ everything that was said is true.
""",
    "latex": r"""% Needs amsmath and amssymb.
\subsection*{A title}
A paragraph with $\Phi$ \& more words than fit.
\begin{equation*}
a = b_1
\end{equation*}
\subsection*{Measured}
$\ast$ = first of two\par
second\par
\begin{tabular}{rr}
x & k$\ast$ \\ \hline
1 & 2<3 \\
\end{tabular}\par
E\_p a: the mean.\par k: the factor.
no bound\par
$\checkmark$ everything that was said is true.
""",
    "html": """\
<h1>A title</h1>
<p>A paragraph with Φ &amp; more words than fit.</p>
<math>a</math>
<section id="measured">
<h2>Measured</h2>
<ul>
<li>* = first of two</li>
<li>second</li>
</ul>
<div class="table"><table><thead><tr><th scope="col">x</th><th scope="col">k*</th></tr></thead>
<tbody>
<tr><td>1</td><td>2&lt;3</td></tr>
</tbody></table></div>
</section>
<dl>
<dt>E_p a</dt><dd>the mean</dd>
<dt>k</dt><dd>the factor</dd>
</dl>
<p>no bound</p>
<p><strong>✓ everything that was said is true.</strong></p>
</body></html>
""",
}


@pytest.mark.parametrize("format", WRITTEN)
def test_every_block_in_every_format(format: str) -> None:
    written = Document("A title", BLOCKS).written(format, 20)
    assert written.partition("</head><body>\n")[2 if format == "html" else 0] == WRITTEN[format]


def test_a_collection_opens_with_its_title_only_where_it_is_a_whole_document() -> None:
    collection = Document("A title", (Heading("Words", 3),), is_collection=True)
    assert collection.written("text", 80) == "Words\n"
    assert collection.written("latex", 80) == "% Needs amsmath and amssymb.\n\\paragraph{Words}\n"
    assert collection.written("markdown", 80) == "# A title\n\n### Words\n"
    assert "<h1>A title</h1>\n<h3>Words</h3>\n" in collection.written("html", 80)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="a document has no format 'pdf'"):
        Document("A title", ()).written("pdf", 80)


def test_lines_of_text_are_cut_between_words() -> None:
    items = Items(("words that need several lines", "few"), hanging=4)
    assert items.text(15) == "words that need\n    several\n    lines\nfew"
    assert Paragraph("a\N{NO-BREAK SPACE}b c").text(3) == "a\N{NO-BREAK SPACE}b\nc"
    assert Document("T", (Paragraph("a\N{NO-BREAK SPACE}b c"),)).written("text", 3) == "T\n\na b\nc\n"
    assert Heading("x*exp(-x*x)-averylongword of X").text(10) == "x*exp(-x*x)-averylongword\nof X"


def test_numbers_are_never_cut_and_names_are_shortened_where_a_table_is_too_wide() -> None:
    """A number without its last digits is another number; names stay different from each other."""
    name = "encoder.block_of_a_layer_with_a_name_of_more_than_sixty_characters"
    rows = [
        (f"{name}.{part}", "0.12345", f"-1.5e+{100 + place}") for place, part in enumerate(("query", "value", "key"))
    ]
    for width in (20, 40, 80):
        lines = Table(("layer", "mean", "variance"), rows).text(width).splitlines()
        assert max(map(len, lines)) <= max(width, 24 + 1 + 7 + 1 + 9)
        for line, (_, mean, variance) in zip(lines[2:], rows, strict=True):
            assert line.split()[1:] == [mean, variance]
        assert len({line.split()[0] for line in lines[2:]}) == 3
    assert name in Table(("layer", "mean", "variance"), rows).text(120)


def test_power_of_ten() -> None:
    assert [power_of_ten(value, ".0e") for value in (0.0, 2.6e-11, 1e6)] == ["0e0", "3e-11", "1e6"]


def test_json_says_what_is_not_finite() -> None:
    assert [json_number(value) for value in (3, 0.5, math.inf, -math.inf, math.nan)] == [3, 0.5, "inf", "-inf", None]
    assert json.loads(json_text({"a": 1, "σ": [0.1]})) == {"a": 1, "σ": [0.1]}
    assert json_text({"σ": 1}) == '{\n  "σ": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": math.nan})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-1.23456, "-1.235"),
        (math.nextafter(1e-3, 0), "1.00e-3"),
        (1e-3, "0.001"),
        (math.nextafter(1e5, 0), "1e+05"),
        (1e5, "1.00e5"),
        (-2.5e-7, "-2.50e-7"),
        (1e123, "1.00e123"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "undefined"),
    ],
)
def test_shortened(value: float, text: str) -> None:
    assert shortened(value, ".4g", ".2e") == text
