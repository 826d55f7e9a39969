"""One analysis from measuring to the record, as `python -m analyses NAME` does it; notebooks call `run_analysis`."""

import dataclasses
import math
import platform
import shutil
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas

from analyses.framework import provenance, records
from analyses.framework.devices import available_device, device_name
from analyses.framework.sweep import Sweep
from analyses.framework.workers import threads_per_job
from elutheory.errors import InputError


def run_analysis(
    analysis: ModuleType,
    folder: Path,
    *,
    preset: str = "quick",
    config: Any = None,
    device: str = "auto",
    jobs: int = 1,
    cluster: str | None = None,
    progress: bool = True,
) -> pandas.DataFrame:
    """Measure (`config`; None: the preset's) and write record and figure into `folder`; returns the table as saved.

    Finished cells wait in `folder`/.unfinished until the record is written: after an interruption the same call goes
    on. Raises InputError on bad configurations, devices and folders.
    """
    name = analysis.__name__.rpartition(".")[2]
    records.check_folder(folder, name)
    config = analysis.PRESETS[preset] if config is None else config
    _check_finite(config)
    device = _device_for(analysis, name, device)
    unfinished = folder / ".unfinished"
    shown = provenance.without_places(config)
    command = provenance.regenerating_command(name, preset, analysis.PRESETS[preset], shown, device)
    commit = provenance.commit()
    start = time.perf_counter()
    table = analysis.measure(config, Sweep(device, jobs, cluster, unfinished, progress))
    described = {
        "analysis": name,
        "command": command,
        "preset": preset,
        "config": dataclasses.asdict(shown),
        "versions": provenance.versions(),
        "machine": platform.machine(),
        "device": device,
        "device_name": device_name(device) if cluster is None else "workers of a Dask cluster",
        "threads": None if cluster is not None else getattr(config, "threads", threads_per_job(jobs)),
        "jobs": jobs,
        "commit": commit,
        "seconds": round(time.perf_counter() - start, 1),
    }
    saved = records.save(folder, table, analysis.draw, described)
    shutil.rmtree(unfinished, ignore_errors=True)
    return saved


def _check_finite(config: Any) -> None:
    """No option of any analysis is NaN or infinite; what else it may be, `cells` of the analysis says."""
    for name, given in dataclasses.asdict(config).items():
        for number in given if isinstance(given, (tuple, list)) else (given,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{name} holds {number}; a finite number is needed.")


def _device_for(analysis: ModuleType, name: str, asked: str) -> str:
    """An analysis that uses no accelerator says so by `DEVICES = ("cpu",)`."""
    if getattr(analysis, "DEVICES", None) != ("cpu",):
        return available_device(asked)
    if asked not in ("auto", "cpu"):
        raise InputError(f"{name} runs on the CPU only; use --device cpu.")
    return "cpu"
