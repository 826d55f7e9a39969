"""Numbers as figures and the report print them."""

from math import isnan


def number(value: float, form: str = "+.3g") -> str:
    """With a true minus sign and ∞; a dash where there is none. `form`: a format specification."""
    return "–" if isnan(value) else f"{value:{form}}".replace("-", "−").replace("inf", "∞")
