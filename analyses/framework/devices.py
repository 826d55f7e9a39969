"""Where an analysis runs: the device asked for, if it is there, and what it is called."""

import platform
from pathlib import Path

import torch

from elutheory.errors import InputError


def available_device(asked: str) -> str:
    """The device as torch writes it; "auto": CUDA where there is one, else the CPU. Raises InputError without it."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise InputError(f'no device is called "{asked}"; use auto, cpu, cuda or, of several, cuda:1.') from None
    if device.type == "cpu":
        return "cpu"
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        raise InputError(f"the device {asked} is not available: torch sees only the CPU.")
    count = torch.accelerator.device_count()
    if device.type != accelerator.type or (device.index or 0) >= count:
        raise InputError(f"the device {asked} is not available: torch sees {count} of type {accelerator.type}.")
    return str(device)


def device_name(device: str) -> str:
    """The model: of the GPU, or of this machine's processor."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    if device != "cpu":
        return device
    information = Path("/proc/cpuinfo")  # on Linux; elsewhere Python knows the name
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
