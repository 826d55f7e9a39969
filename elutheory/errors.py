"""The errors a caller can act on."""


class InputError(ValueError):
    """Bad input, in one sentence: what was wrong and what is allowed. The command line exits with code 2."""
