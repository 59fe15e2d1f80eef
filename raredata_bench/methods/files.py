"""Files that a user hands to a method."""

from __future__ import annotations

from pathlib import Path

from raredata_bench.errors import IncompatibleError, MissingDataError, closest


def given_file(key: str, file: str | None, example: str) -> Path:
    """Return the file that a method was given.

    Parameters
    ----------
    key : str
        The method.
    file : str or None
        Its parameter ``file``; relative to the folder that the command was started in.
    example : str
        A name that such a file may have, and what it holds.

    Raises
    ------
    IncompatibleError
        No file was given: without it the method has nothing to do.
    MissingDataError
        There is no such file; the message names the closest one beside it.
    """
    if not file:
        raise IncompatibleError(f"{key} does nothing without a file. Give one: method.file={example}.")
    path = Path(file).expanduser()
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"{key}: there is no file {file}.{closest(path.name, beside)}")
    return path
