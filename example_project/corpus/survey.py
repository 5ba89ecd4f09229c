"""Counts and searches Python source with `ast`, without running or importing it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from typing import TypedDict

from corpus.packages import SourceFile

MAX_FILE_BYTES = 4_000_000
"""Larger files are data, not worth the memory of a worker."""

MAX_HITS = 200
"""Hits of one search that are returned; the others are only counted."""

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""The fields in which a statement holds others. Expressions define nothing that has a name."""

_UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)
"""Errors of reading and parsing a file: UnicodeDecodeError is a ValueError."""


class Function(TypedDict):
    """A function or method. `lines` counts from `def` to its last line."""

    name: str
    line: int
    lines: int


class Row(TypedDict):
    """The findings in one file. With an `error` it could not be read, and all counts are 0."""

    file: str
    lines: int
    classes: int
    functions: int
    longest_function: Function | None
    error: str | None


class FunctionInFile(Function):
    """A function, and the file in which it is."""

    file: str


class Totals(TypedDict):
    """The findings in all files together."""

    files: int
    lines: int
    classes: int
    functions: int
    unreadable: int
    longest_function: FunctionInFile | None


class Hit(TypedDict):
    """A name that was found."""

    file: str
    line: int
    kind: str
    name: str


class Hits(TypedDict):
    """The first `MAX_HITS` names that were found, and how many there are."""

    hits: list[Hit]
    total: int


def survey_file(file: SourceFile) -> Row:
    """Returns what is in a file; never raises for what may be wrong with it."""
    row = Row(file=file.name, lines=0, classes=0, functions=0, longest_function=None, error=None)
    try:
        source = _read(file)
        functions: list[Function] = []
        classes = 0
        for name, node in _definitions(_parse(source)):
            if isinstance(node, ast.ClassDef):
                classes += 1
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            functions.append(Function(name=name, line=node.lineno, lines=lines))
    except _UNREADABLE as error:
        row["error"] = _describe(error)
        return row
    row["lines"] = len(source.splitlines())
    row["classes"] = classes
    row["functions"] = len(functions)
    row["longest_function"] = max(functions, key=lambda each: each["lines"], default=None)
    return row


def summarise(rows: Iterable[Row]) -> Totals:
    """Returns the totals of a survey."""
    totals = Totals(files=0, lines=0, classes=0, functions=0, unreadable=0, longest_function=None)
    for row in rows:
        totals["files"] += 1
        totals["lines"] += row["lines"]
        totals["classes"] += row["classes"]
        totals["functions"] += row["functions"]
        totals["unreadable"] += row["error"] is not None
        longest, known = row["longest_function"], totals["longest_function"]
        if longest and (known is None or longest["lines"] > known["lines"]):
            totals["longest_function"] = FunctionInFile(file=row["file"], **longest)
    return totals


def search(files: Iterable[SourceFile], text: str) -> Hits:
    """Returns the classes, functions and methods whose own name contains a text, in any case.

    Files that cannot be read are skipped; the survey lists them.
    """
    wanted = text.casefold()
    hits: list[Hit] = []
    total = 0
    for file in files:
        try:
            source = _read(file)
            # Parsing takes a hundred times as long as looking.
            if wanted.isascii() and wanted.encode() not in source.lower():
                continue
            found = list(_hits(file.name, source, wanted))
        except _UNREADABLE:
            continue
        total += len(found)
        hits += found[: MAX_HITS - len(hits)]
    return Hits(hits=hits, total=total)


def _hits(file: str, source: bytes, wanted: str) -> Iterator[Hit]:
    for name, node in _definitions(_parse(source)):
        if wanted in node.name.casefold():
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            yield Hit(file=file, line=node.lineno, kind=kind, name=name)


def _definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, _Definition]]:
    """Yields what is defined inside a node, nested definitions included, in their order."""
    for block in _BLOCKS:
        for child in getattr(node, block, ()):
            if isinstance(child, _Definition):
                name = prefix + child.name
                yield name, child
                yield from _definitions(child, f"{name}.")
            else:
                yield from _definitions(child, prefix)


def _read(file: SourceFile) -> bytes:
    with file.path.open("rb") as stream:
        source = stream.read(MAX_FILE_BYTES + 1)
    if len(source) > MAX_FILE_BYTES:
        raise ValueError(f"longer than {MAX_FILE_BYTES} bytes")
    return source


def _parse(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        # What the compiler thinks of the style of other people's code is not the question.
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _describe(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno})" if error.lineno else ""
        return f"{type(error).__name__}: {error.msg}{where}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"  # without the path on the worker
    return f"{type(error).__name__}: {error}"
