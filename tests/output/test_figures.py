"""Numbers as printed: references written by hand."""

import pytest

from elutheory.output.figures import number


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1.2345, "+.3g", "+1.23"),
        (-0.5, "+.3g", "−0.5"),
        (2e-5, ".2g", "2e−05"),
        (float("inf"), "+.2g", "+∞"),
        (float("-inf"), "+.2g", "−∞"),
        (float("nan"), "+.2g", "–"),
    ],
)
def test_number(value: float, form: str, text: str) -> None:
    assert number(value, form) == text
