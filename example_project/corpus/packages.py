"""Finds the Python source of installed packages, without importing them."""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TypedDict

STDLIB = "stdlib"
"""Stands for the whole standard library: there is no package of this name."""

MAX_FILES = 10_000
"""Files of one package. Larger packages are an error, so that no job runs without end."""

_NEVER_SOURCE = {"__pycache__"}
_NOT_THE_LIBRARY = {*_NEVER_SOURCE, "site-packages", "dist-packages", "test", "tests", "idle_test"}
"""Folders inside that of the standard library. Its tests hold broken files on purpose."""


class PackageNotFound(LookupError):
    """There is no such package, or it has no Python source."""


class PackageTooLarge(ValueError):
    """The package has more files than are surveyed at once."""


class Package(TypedDict):
    """A package to choose from."""

    name: str
    group: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of Python source."""

    name: str
    """Its path as people write it, `"json/decoder.py"`."""
    path: Path


def list_packages() -> list[Package]:
    """Returns the packages that can be surveyed: the library's own, then what was installed.

    Single modules can be surveyed, too, but would make the list endless.
    """
    names = {module.name for module in pkgutil.iter_modules() if module.ispkg}
    # Packages installed in editable mode are not in any of the searched folders.
    names |= {
        name
        for name, module in sys.modules.copy().items()
        if "." not in name and getattr(module, "__file__", None) and hasattr(module, "__path__")
    }
    names -= _NOT_THE_LIBRARY
    packages = [Package(name=STDLIB, group="everything")]
    packages += [
        Package(name=name, group="library" if name in sys.stdlib_module_names else "installed")
        for name in sorted(names, key=str.casefold)
        if name.isidentifier() and not name.startswith("_")
    ]
    return sorted(packages, key=lambda package: package["group"] == "installed")


def find_sources(package: str) -> list[SourceFile]:
    """Returns the source files of a package, sorted by name.

    Args:
        package: the name of a top-level package or module, or `"stdlib"`.

    Raises:
        PackageNotFound: there is no such package, or it has no Python source.
        PackageTooLarge: it has more than `MAX_FILES` files.
    """
    if package == STDLIB:
        library = Path(sysconfig.get_path("stdlib"))
        return _sorted(package, _walk(library, library, _NOT_THE_LIBRARY))
    spec = _find_spec(package)
    if spec.submodule_search_locations is not None:
        folders = [Path(location) for location in spec.submodule_search_locations]
        found = (file for folder in folders for file in _walk(folder, folder.parent, _NEVER_SOURCE))
        files = _sorted(package, found)
    elif spec.origin and spec.origin.endswith(".py"):
        path = Path(spec.origin)
        files = [SourceFile(path.name, path)]
    else:
        files = []
    if not files:
        raise PackageNotFound(f"{package!r} has no Python source here: it is compiled.")
    return files


def _find_spec(package: str) -> ModuleSpec:
    # A dotted name would import the parent of the package; the program that runs is none.
    if isinstance(package, str) and package.isidentifier() and package != "__main__":
        try:
            # The path first: the interpreter keeps some modules frozen, without their source.
            spec = PathFinder.find_spec(package) or importlib.util.find_spec(package)
        except (ImportError, ValueError):  # a loaded module without a spec
            spec = None
        if spec is not None:
            return spec
    raise PackageNotFound(
        f"There is no package {package!r} here. Give the name of an installed top-level "
        f"package, such as 'json', or {STDLIB!r}."
    )


def _walk(folder: Path, base: Path, skipped: set[str]) -> Iterator[SourceFile]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in skipped]
        for name in names:
            if name.endswith(".py"):
                path = Path(root, name)
                # A name of a file may be no text, and would not travel.
                text = os.fsencode(path.relative_to(base)).decode(errors="replace")
                yield SourceFile(text, path)


def _sorted(package: str, found: Iterator[SourceFile]) -> list[SourceFile]:
    files: list[SourceFile] = []
    for file in found:
        files.append(file)
        if len(files) > MAX_FILES:
            raise PackageTooLarge(f"{package!r} has more than {MAX_FILES} files.")
    return sorted(files, key=lambda file: file.name)
