"""How much memory is free, so that what does not fit is refused before it is allocated."""

import os
from pathlib import Path

import torch

from elutheory.errors import InputError


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can be allocated on a device; None where it does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def check_fits(what: str, needed: int, device: torch.device, number: int, fits: str, otherwise: str) -> None:
    """Raise InputError if `what` needs more bytes than are free.

    It is `number` things alike; `fits` says, with {fitting} in it, how many would fit, `otherwise` what else helps.
    """
    free = free_bytes(device)
    if free is None or needed <= free:
        return
    fitting = free * number // needed
    enough = fits.format(fitting=f"{fitting:,}") if fitting else "not even one alone would fit"
    raise InputError(
        f"{what} take {in_words(needed)}, of which {in_words(free)} are free on {device}; {enough}, {otherwise}."
    )


def in_words(number: int) -> str:
    """A number of bytes with three digits, as 275 GB."""
    size = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 999.5 else f"{size:,.0f} TB"
