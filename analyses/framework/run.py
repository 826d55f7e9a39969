"""One analysis from measuring to the record, as `python -m analyses NAME` does it; notebooks call `run_analysis`."""

import contextlib
import dataclasses
import platform
import shutil
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas

from analyses.framework import kept_cells, provenance, records
from analyses.framework.devices import available_device, device_name
from analyses.framework.sweep import Sweep
from analyses.framework.workers import threads_per_job
from elutheory.errors import InputError
from elutheory.numerics.cost import check_cost
from elutheory.output.domains import check_domains


def run_analysis(
    analysis: ModuleType,
    folder: Path,
    *,
    preset: str = "quick",
    config: Any = None,
    device: str = "auto",
    jobs: int = 1,
    cluster: str | None = None,
    replace: bool = False,
    progress: bool = True,
) -> pandas.DataFrame:
    """Measure (`config`; None: the preset's) and write record and figure into `folder`; returns the table as saved.

    Finished cells wait in a folder of their own in `folder`/.unfinished until the record is written: after an
    interruption the same call goes on. A record that was measured with another configuration is left, unless `replace`.
    Raises InputError on bad configurations, devices and folders.
    """
    name = analysis.__name__.rpartition(".")[2]
    config = analysis.PRESETS[preset] if config is None else config
    check_domains(config)
    device = _device_for(analysis, name, device)
    shown = provenance.without_places(config)
    settings = dataclasses.asdict(shown)
    records.check_folder(folder, name, settings, replace=replace)
    check_cost(analysis.cost(config), jobs=jobs)
    unfinished = folder / ".unfinished" / kept_cells.run_name(name, config, device)
    command = provenance.regenerating_command(name, preset, analysis.PRESETS[preset], shown, device)
    commit = provenance.commit()
    start = time.perf_counter()
    table = analysis.measure(config, Sweep(device, jobs, cluster, unfinished, progress))
    described = {
        "analysis": name,
        "command": command,
        "preset": preset,
        "config": settings,
        "versions": provenance.versions(),
        "machine": platform.machine(),
        "device": device,
        "device_name": device_name(device) if cluster is None else "workers of a Dask cluster",
        "threads": None if cluster is not None else getattr(config, "threads", threads_per_job(jobs)),
        "jobs": jobs,
        "commit": commit,
        "seconds": round(time.perf_counter() - start, 1),
    }
    records.check_folder(folder, name, settings, replace=replace)  # another run may have written there meanwhile
    saved = records.save(folder, table, analysis.draw, described)
    shutil.rmtree(unfinished, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or other runs' cells are
        unfinished.parent.rmdir()
    return saved


def _device_for(analysis: ModuleType, name: str, asked: str) -> str:
    """An analysis that uses no accelerator says so by `DEVICES = ("cpu",)`."""
    if getattr(analysis, "DEVICES", None) != ("cpu",):
        return available_device(asked)
    if asked not in ("auto", "cpu"):
        raise InputError(f"{name} runs on the CPU only; use --device cpu.")
    return "cpu"
