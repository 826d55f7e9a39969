"""Tables with a column of encoded images and one of labels: parquet files and Hugging Face data sets."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analyses.data.images import PARTS, decode_images, first_line, optional_package
from analyses.data.labelled_images import LabelledImages
from elutheory.errors import InputError

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
_ROWS = 1000  # read at a time
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_PART_OF_FILE = re.compile(rf"({'|'.join(PARTS)})(?![a-z]).*\.parquet")


@dataclass(frozen=True)
class _Table:
    """Rows in batches (pyarrow tables or record batches) with their schema."""

    schema: Any
    rows: int
    batches: Iterable[Any]
    source: str


def is_parquet_folder(folder: Path) -> bool:
    """Whether a parquet file is in it."""
    return any(path.suffix == ".parquet" for path in folder.iterdir())


def read_parquet(path: Path) -> dict[str, LabelledImages]:
    """Parts of a folder by its files' names, which begin with train, validation (valid, val) or test; one file is the
    part "train". Columns image or img (encoded images) and label, labels, fine_label or target (whole numbers).

    Raises InputError for other names, files that are not whole and tables without such columns.
    """
    if path.is_file():
        return {"train": _read_files([path], str(path))}
    files: dict[str, list[Path]] = {}
    for file in sorted(path.glob("*.parquet")):
        match = _PART_OF_FILE.fullmatch(file.name)
        if not match:
            raise InputError(f"{file} belongs to no part; names that begin with train, validation or test are needed.")
        files.setdefault(PARTS[match.group(1)], []).append(file)
    if "train" not in files:
        raise InputError(f"{path} holds no parquet file whose name begins with train; one is needed.")
    return {part: _read_files(of_part, f"the {part} part of {path}") for part, of_part in files.items()}


def read_hugging_face(name: str) -> dict[str, LabelledImages]:
    """The splits train, validation (valid, val) and test of a data set of the Hugging Face Hub, others left out, read
    by the package `datasets` from the Hub or its cache; columns as in `read_parquet`. No code of the data set is run.

    Raises InputError for a name that cannot be had and a data set that is not as described.
    """
    if not _HUB_NAME.fullmatch(name):
        raise InputError(f"huggingface:{name} names no data set; huggingface:NAME or huggingface:OWNER/NAME is needed.")
    datasets = optional_package("datasets")
    embed = optional_package("datasets.table").embed_table_storage
    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # whatever the layers of network, cache and file formats raise
        raise InputError(f"huggingface:{name} cannot be loaded: {first_line(error)}.") from error
    parts = {}
    for split, rows in splits.items():
        if str(split) in PARTS:
            batches = (embed(batch) for batch in rows.with_format("arrow").iter(_ROWS))
            table = _Table(rows.features.arrow_schema, len(rows), batches, f"huggingface:{name}, {split}")
            parts[PARTS[str(split)]] = _read_tables([table], table.source)
    if "train" not in parts:
        raise InputError(f"huggingface:{name} has the splits {', '.join(map(str, splits))}; a split train is needed.")
    return parts


def _read_files(paths: list[Path], source: str) -> LabelledImages:
    parquet = optional_package("pyarrow.parquet", "pyarrow")
    tables = []
    for path in paths:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file; a parquet file is needed.")
        try:
            file = parquet.ParquetFile(path, page_checksum_verification=True)
        except Exception as error:  # a broken file makes pyarrow raise many kinds
            raise _unreadable(path, error) from error
        columns = list(_columns(file.schema_arrow, str(path)))
        tables.append(_Table(file.schema_arrow, file.metadata.num_rows, _batches(file, columns, path), str(path)))
    return _read_tables(tables, source)


def _batches(file: Any, columns: list[str], path: Path) -> Iterator[Any]:
    try:
        yield from file.iter_batches(_ROWS, columns=columns)
    except Exception as error:  # as above
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as parquet: {first_line(error)}.")


def _read_tables(tables: list[_Table], source: str) -> LabelledImages:
    labels: list[Any] = []
    images = decode_images(_encoded(tables, labels), sum(table.rows for table in tables), source)
    largest = max(labels, default=0)
    if largest > np.iinfo(np.int64).max:
        raise InputError(f"{source} has a label {largest}; whole numbers below 2⁶³ are needed.")
    return LabelledImages(images, np.array(labels, np.int64), source)


def _encoded(tables: list[_Table], labels: list[int]) -> Iterator[tuple[str, bytes]]:
    """Name and encoded image of every row; its label is appended to `labels`."""
    types, compute = optional_package("pyarrow.types", "pyarrow"), optional_package("pyarrow.compute", "pyarrow")
    for table in tables:
        image_column, label_column = _columns(table.schema, table.source)
        row = 0
        for batch in table.batches:
            encoded = batch.column(image_column)
            if types.is_struct(encoded.type):
                encoded = compute.struct_field(encoded, "bytes")
            for content, label in zip(encoded.to_pylist(), batch.column(label_column).to_pylist(), strict=True):
                if content is None or label is None:
                    raise InputError(f"row {row} of {table.source} lacks its image or its label.")
                labels.append(label)
                yield f"the image in row {row} of {table.source}", content
                row += 1


def _columns(schema: Any, source: str) -> tuple[str, str]:
    """Names of the columns of images and of labels."""
    types = optional_package("pyarrow.types", "pyarrow")

    def holds_images(kind: Any) -> bool:
        binary = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        return types.is_binary(binary) or types.is_large_binary(binary)

    image = [name for name in _IMAGE_COLUMNS if name in schema.names and holds_images(schema.field(name).type)]
    label = [name for name in _LABEL_COLUMNS if name in schema.names and types.is_integer(schema.field(name).type)]
    if not image or not label:
        raise InputError(
            f"{source} has the columns {', '.join(schema.names)}; a column of encoded images ("
            f"{' or '.join(_IMAGE_COLUMNS)}) and one of whole numbers ({', '.join(_LABEL_COLUMNS)}) are needed."
        )
    return image[0], label[0]
