"""The data set `files`: samples from the user's own files, of which every worker reads all.

file_parameters.py says what may be asked, files_source.py finds and reads the files, files_checksums.py makes sure of
them, and one module for each format makes samples of them. Rows come in the order of the sorted names of files, so
that every worker, and every attempt of a job, has the same samples in the same places.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final, cast

from trainer.datasets.file_parameters import Format, parse, public_form
from trainer.datasets.files_checksums import checksums_for
from trainer.datasets.files_source import FileSource
from trainer.datasets.raw import RawData
from trainer.extensions import load_target

# Targets by name, so that a table needs no Pillow and images need no pyarrow.
_READERS: Final[Mapping[Format, str]] = {
    Format.CSV: "trainer.datasets.files_tables:read",
    Format.PARQUET: "trainer.datasets.files_tables:read",
    Format.NPZ: "trainer.datasets.files_arrays:read",
    Format.IMAGES: "trainer.datasets.files_images:read",
}
_SUFFIXES: Final[Mapping[Format, frozenset[str]]] = {
    Format.CSV: frozenset({".csv"}),
    Format.PARQUET: frozenset({".parquet"}),
    Format.NPZ: frozenset({".npz", ".npy"}),
    Format.IMAGES: frozenset({".png", ".jpg", ".jpeg"}),
}

log = logging.getLogger("trainer")


def load(parameters: Mapping[str, Any]) -> RawData:
    """Read, verify, clean and encode.

    Raises ConfigurationError for a parameter, DataError for a file or column that cannot be used, and TrainerError
    when a file system or server fails in a way that may pass.
    """
    wanted = parse(parameters)
    source = FileSource(wanted.url)
    files = source.find(_SUFFIXES[wanted.format], deep=wanted.format is Format.IMAGES)
    checksums = checksums_for(wanted, [file.name for file in files])
    read = load_target(_READERS[wanted.format])
    data = cast("RawData", read(wanted, (checksums.verified(source.read(file)) for file in files)))
    log.info("%s: %d samples of shape %s", public_form(wanted.url), len(data), data.inputs.shape[1:])
    return data
