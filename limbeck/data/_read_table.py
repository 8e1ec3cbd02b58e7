"""Table files: CSV, TSV, JSON lines, Parquet, plain or compressed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck._errors import DataError, OptionError
from limbeck._lookup import first_line
from limbeck.data._paths import need_file

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def is_delimited(path: Path) -> bool:
    """Whether its suffix says that it is lines of fields, of which the first may name them."""
    return _format_of(path) in (".csv", ".tsv")


def _format_of(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_table(path: Path, *, separator: str = "", header: Sequence[str] = ()) -> Any:
    """The pyarrow table of a file.

    An empty field is a missing value, and so is NA, NaN or null unless quoted. Fields of a `.tsv`
    are never quoted, as its registered format says.

    Args:
        path: Its suffix names the format: one of `SUFFIXES`, or such a one and `.gz`.
        separator: One character between the fields of a CSV; empty means as the suffix says.
        header: The columns' names, for a CSV whose first line holds data already.

    Raises:
        DataError: The file is missing, corrupt, empty, or of another format.
    """
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    need_file(path, "a table")
    suffix = _format_of(path)
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path} must end with one of {', '.join(SUFFIXES)}, plain or .gz, got "
            f"{suffix or 'no suffix'}. Convert it, or give it the name of its format."
        )
    is_text = is_delimited(path)
    if (separator or header) and not is_text:
        raise OptionError(f"separator and header are for .csv and .tsv files, got {path.name}.")
    if len(separator) > 1:
        raise OptionError(f"separator must be one character, got {separator!r}.")
    try:
        with pa.input_stream(
            str(path), compression="gzip" if path.suffix == ".gz" else None
        ) as file:
            if suffix == ".parquet":
                table = parquet.read_table(pa.BufferReader(file.read()))
            elif is_text:
                table = csv.read_csv(
                    file,
                    read_options=csv.ReadOptions(column_names=list(header) or None),
                    parse_options=csv.ParseOptions(
                        delimiter=separator or ("\t" if suffix == ".tsv" else ","),
                        quote_char=False if suffix == ".tsv" else '"',
                        newlines_in_values=suffix == ".csv",
                    ),
                    convert_options=csv.ConvertOptions(
                        strings_can_be_null=True, quoted_strings_can_be_null=False
                    ),
                )
            else:
                table = json.read_json(file)
        if suffix != ".parquet":
            _check_text(table)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be UTF-8 text, got {error.object[error.start : error.end]!r}. Save it as "
            "UTF-8: if it is latin-1, with `iconv -f latin1 -t utf8`."
        ) from None
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(
            f"cannot read {path}: {first_line(error)}. Mend or fetch the file again."
        ) from None
    if len(set(table.column_names)) < len(table.column_names):
        twice = next(name for name in table.column_names if table.column_names.count(name) > 1)
        way_out = "Rename one."
        if is_text and not header:
            way_out += (
                " Its first line was taken for the header: if that is data, list all columns' "
                "names in options.header."
            )
        raise DataError(f"two columns of {path} are called {twice!r}. {way_out}")
    if len(table) == 0:
        raise DataError(f"{path} has no rows. Give it samples.")
    return table


def _check_text(table: Any) -> None:
    """Raise UnicodeDecodeError for a column's name or a text that is no UTF-8."""
    import pyarrow as pa

    _ = table.column_names  # decodes them
    for column in table.columns:
        if pa.types.is_string(column.type):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:
                column = column.cast(pa.binary())
        if pa.types.is_binary(column.type):  # what a CSV's text is that is no UTF-8
            for text in column.drop_null().to_pylist():
                text.decode()
