"""Rows of columns with names from CSV and Parquet files; the only part that knows pyarrow."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pyarrow import csv, parquet

from trainer.datasets.catalogue import Task
from trainer.datasets.file_parameters import FileParameters, Format
from trainer.datasets.files_cleaning import usable
from trainer.datasets.files_columns import MOST_VALUES, Categories, Column, Numbers, assemble
from trainer.datasets.files_source import MOST_BYTES, Content
from trainer.datasets.raw import RawData
from trainer.errors import DataError


def read(wanted: FileParameters, contents: Iterable[Content]) -> RawData:
    """The rows of all files, one file after the other. Raises DataError with the file or the column and the reason."""
    tables: list[Any] = []
    rows = 0
    columns: list[str] | None = None if wanted.features is None else [*wanted.features, str(wanted.target)]
    for content in contents:
        table = _table(wanted.format, content)
        columns = columns or _all_columns(content.name, table.column_names, str(wanted.target))
        _check_names(content.name, table.column_names, columns, only=wanted.features is None)
        tables.append(table.select(columns))
        rows += table.num_rows
        if rows * len(columns) > MOST_VALUES:
            raise DataError(f"{content.name}: more than {MOST_VALUES} values with the files before it")
    table = _joined(tables)
    if not rows:
        raise DataError("the files have no rows")
    features = [_column(name, table[name]) for name in table.column_names[:-1]]
    target = table.column_names[-1]
    made = _classes(target, table[target]) if wanted.task is Task.CLASSIFICATION else _column(target, table[target])
    return assemble(features, made, wanted)


def _table(kind: Format, content: Content) -> Any:
    try:
        table = _READERS[kind](content)
        table.validate(full=True)  # text that is no UTF-8 would be found out only where it is used
        _ = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{content.name}: cannot be read as {kind.value}: {error}") from error
    return table


def _csv(content: Content) -> Any:
    # Read whole, a column gets the type that suits all its rows; read as a stream, the first rows would decide.
    return csv.read_csv(pa.BufferReader(content.data), convert_options=csv.ConvertOptions(strings_can_be_null=True))


def _parquet(content: Content) -> Any:
    file = parquet.ParquetFile(pa.BufferReader(content.data))
    about = file.metadata
    size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if size > MOST_BYTES or about.num_rows * about.num_columns > MOST_VALUES:
        raise DataError(f"{content.name}: unpacks to {size} bytes in {about.num_rows} rows, more than fits into memory")
    return file.read()


_READERS: Final[Mapping[Format, Callable[[Content], Any]]] = {Format.CSV: _csv, Format.PARQUET: _parquet}


def _all_columns(file: str, names: list[str], target: str) -> list[str]:
    features = [name for name in names if name != target]
    if not features:
        raise DataError(f"{file}: has no column beside {target}")
    return [*features, target]


def _check_names(file: str, names: list[str], columns: list[str], *, only: bool) -> None:
    """Each column once in the file; only: and no others, since they would be in some files' rows alone."""
    for name in columns:
        if name not in names:
            raise DataError(f"{file}: has no column {name}; there is: {', '.join(names)}")
        if names.count(name) > 1:
            raise DataError(f"{file}: has {names.count(name)} columns {name}")
    others = [name for name in names if name not in columns]
    if only and others:
        raise DataError(f"{file}: has a column {others[0]} that the files before it lack: name the features to use")


def _joined(tables: list[Any]) -> Any:
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"the files' columns are of different types: {error}") from error


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: Any) -> bool:
    types = pa.types
    return any(
        is_kind(kind)
        for is_kind in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    )


def _plain(name: str, column: Any) -> Any:
    """The column without a dictionary. Raises DataError for a type that is neither number nor text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type) or _is_number(column.type):
        return column
    raise DataError(f"column {name}: {column.type} is neither number nor text: leave it out of features")


def _column(name: str, column: Any) -> Column:
    column = _plain(name, column)
    if _is_text(column.type):
        return _categories(name, column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    numbers = column.cast(pa.float64(), safe=False)
    return Numbers(name, usable(numbers.to_numpy()))


def _classes(name: str, column: Any) -> Column:
    """A target's values: text and whole numbers as they are, so that a large number stays exact as a label."""
    column = _plain(name, column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
    if pa.types.is_integer(column.type) or _is_text(column.type):
        return _categories(name, column)
    return _column(name, column)


def _categories(name: str, column: Any) -> Categories:
    text = column.cast(pa.large_string()) if _is_text(column.type) else column
    coded = pc.dictionary_encode(text.combine_chunks())
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return Categories(name, codes.astype(np.int64), tuple(coded.dictionary.to_pylist()))
