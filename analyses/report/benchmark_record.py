"""The benchmarks' record: jobs done by elutheory and by a peer or a floor, side by side, in one run.

`benchmarks/` writes it; the README's table is made from it.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from elutheory.errors import InputError

PEERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "moments": ("its special functions alone",),
        "second_moment": ("dks",),
        "tangent_kernel": ("neural-tangents, degree 25", "neural-tangents, degree 50"),
        "gram_layer": ("np.arccos, one thread",),
        "unit_fisher": ("straightforward formula", "ASDL", "BackPACK", "nngeometry", "curvlinops"),
        "layer_statistics": ("bare forward pass", "fastai-style hooks"),
        "diagnosis": ("plain pass",),
        "training": ("one after the other",),
    }
)
"""Every job with what it is measured beside, in the order of the table: none can be missing from it unnoticed."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One job by elutheory and by a peer or a floor. Times are wall-clock seconds."""

    name: str
    """A key of PEERS."""
    what: str
    """The job and its size, in words."""
    peer: str
    """One of the name's PEERS."""
    peer_version: str | None = None
    """None: not installed, or written out in the benchmark."""
    is_floor: bool = False
    """Whether the job contains what it is measured beside, so that it cannot be faster."""
    seconds: float
    peer_seconds: float | None
    """None: the peer is not installed."""
    error: float | None = None
    """Relative, against certified digits."""
    peer_error: float | None = None
    difference: float | None = None
    """Between the two results, where no certified digits exist, in units of the largest entry."""
    threads: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        for field, kind in get_type_hints(Comparison).items():
            value = getattr(self, field)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise InputError(f"a comparison's {field} is {value!r}.")
            if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
                raise InputError(f"a comparison's {field} is {value!r}; it must be finite and not negative.")
        if self.peer not in PEERS.get(self.name, ()):
            raise InputError(f'no benchmark measures "{self.name}" beside "{self.peer}".')
        if not self.seconds or self.peer_seconds == 0:
            raise InputError(f'the job "{self.name}" beside "{self.peer}" took no time.')


@dataclass(frozen=True)
class Record:
    """The comparisons of one run, and where they come from."""

    comparisons: tuple[Comparison, ...]
    processor: str
    cores: int
    versions: dict[str, str]
    commit: str | None

    def to_json(self) -> str:
        """What `read_record` reads: the fields by name, indented, with a last line break."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def cores() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_record(path: Path) -> Record:
    """The record in the file. Raises InputError if it cannot be read or holds anything else."""
    try:
        return _record(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); measure the benchmarks first.") from None
    except InputError as error:
        raise InputError(f"{path} is no record of benchmarks: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no record of benchmarks ({error}); measure them again.") from None


def _record(content: dict[str, Any]) -> Record:
    comparisons = tuple(Comparison(**comparison) for comparison in content["comparisons"])
    record = Record(comparisons, content["processor"], content["cores"], content["versions"], content["commit"])
    texts = [record.processor, *record.versions.values(), record.commit or ""]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.cores, int):
        raise InputError("processor, cores, versions or commit are not what a run writes.")
    return record
