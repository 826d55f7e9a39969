"""The errors a caller can act on."""


class InputError(ValueError):
    """Bad input, in one sentence: what was wrong and what is allowed. The command line exits with code 2.

    >>> import elutheory as et
    >>> try:
    ...     et.activation("elu", alpha=-1.0)
    ... except et.InputError as refusal:
    ...     print(refusal)
    ...
    elu: alpha must be a finite number > 0, not -1.0.
    """


class DamagedFileError(InputError):
    """A file that was written here is not as it was written; whoever can make it anew does so."""
