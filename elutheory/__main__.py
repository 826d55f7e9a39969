"""The console script `elutheory`: `elutheory COMMAND ...` is `python -m elutheory.MODULE ...`."""

import importlib
import sys
import textwrap
from collections.abc import Sequence

from elutheory.errors import InputError
from elutheory.output.command_line import EXIT_CODES, VERIFIED, run

COMMANDS = {
    "bias-shift": (
        "elutheory.bias_shift.command",
        "derive and check Theorems 1 and 2, measure them on handwritten digits",
    ),
    "moments": ("elutheory.moments.command", "moments of an activation function of a Gaussian variable"),
    "propagation": ("elutheory.propagation.command", "what theory predicts for every layer of a deep network"),
    "dynamics": ("elutheory.dynamics.command", "which activation learns faster on your data, and why, predicted"),
    "diagnosis": ("elutheory.diagnosis.command", "where the bias shift is in your own torch model"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named command; print the list of commands for `--help`."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    listing = "\n".join(f"  {name:<12} {meaning}" for name, (_, meaning) in COMMANDS.items())
    if given and given[0] in ("-h", "--help"):
        print(f"usage: elutheory COMMAND [options]\n\n{listing}\n\n`elutheory COMMAND --help` lists its options.")
        print(f"\n{textwrap.fill(EXIT_CODES, 100)}")
        return VERIFIED
    if not given or given[0] not in COMMANDS:
        problem = f"there is no command {given[0]!r}" if given else "a command is needed"
        raise InputError(f"{problem}; choose one of: {', '.join(COMMANDS)}.")
    return importlib.import_module(COMMANDS[given[0]][0]).main(given[1:])


if __name__ == "__main__":
    sys.exit(main())
