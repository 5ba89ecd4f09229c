"""The key of a call: equal for equal arguments, and for no others.

Pure.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from gearmanny.errors import EncodingError
from gearmanny.payload.canonical import canonical

_NOT_GIVEN = object()


def belongs_to_a_class(function: Callable[..., Any]) -> bool:
    """Returns whether the first argument of a function is the object that it is a method of."""
    first = next(iter(inspect.signature(function).parameters), None)
    scope = getattr(function, "__qualname__", "").rpartition(".")[0]
    in_a_class = bool(scope) and not scope.endswith("<locals>")
    return first == "self" or (first == "cls" and in_a_class)


class Arguments:
    """The arguments of a call, by name."""

    __slots__ = ("_bound", "_is_method", "_signature", "given", "named")

    def __init__(
        self,
        signature: inspect.Signature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        is_method: bool = False,
        ignore: frozenset[str] = frozenset(),
    ) -> None:
        """
        Args:
            signature: of the function.
            args: given by position, the object of a method included.
            kwargs: given by name.
            is_method: whether the first argument is the object of a method, which does not count.
            ignore: the names of other arguments that do not count.

        Raises:
            TypeError: the function does not take them.
        """
        self._signature = signature
        self._is_method = is_method
        self._bound = bound = signature.bind(*args, **kwargs)
        first = next(iter(signature.parameters)) if is_method else None
        self.given = _counting(bound.arguments, first, ignore)
        """Those that the caller gave, without defaults."""
        bound.apply_defaults()
        self.named = _counting(bound.arguments, first, ignore)
        """All of them, defaults included."""
        for name, parameter in signature.parameters.items():
            if ignore and parameter.kind is inspect.Parameter.VAR_KEYWORD and name in self.named:
                self.named[name] = _counting(self.named[name], None, ignore)

    def keywords(self) -> dict[str, Any] | None:
        """Returns all arguments by name, without the object of a method; None where some have
        none."""
        keywords: dict[str, Any] = {}
        names = [name for name in self._signature.parameters if name in self._bound.arguments]
        for name in names[1:] if self._is_method else names:
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                keywords.update(self._bound.arguments[name])
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                if self._bound.arguments[name]:
                    return None
            else:
                keywords[name] = self._bound.arguments[name]
        return keywords

    def passed_to(self, function: Callable[..., Any]) -> Any:
        """Returns what a function returns for these arguments, ignored ones included, without the
        object of a method."""
        args = self._bound.args[1:] if self._is_method else self._bound.args
        return function(*args, **self._bound.kwargs)


def _counting(
    arguments: Mapping[str, Any], first: str | None, ignore: frozenset[str]
) -> dict[str, Any]:
    return {
        name: value for name, value in arguments.items() if name != first and name not in ignore
    }


def cache_key(
    unique_name: str,
    arguments: Mapping[str, Any],
    json_encoder: type[json.JSONEncoder] = json.JSONEncoder,
    *,
    version: str | int | None = None,
    computed: Any = _NOT_GIVEN,
) -> str:
    """Returns the hashed key of a call, the same for every order of the arguments.

    Args:
        unique_name: of the function.
        arguments: by name.
        json_encoder: decides which arguments are accepted besides plain JSON.
        version: of the answers, if the function has one.
        computed: stands in for the arguments, where a function makes the key.

    Raises:
        EncodingError: an argument is not JSON.
    """
    parts: list[Any] = [unique_name, arguments if computed is _NOT_GIVEN else [computed]]
    if version is not None:
        parts.append({"version": version})
    try:
        text = canonical(parts, json_encoder)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodingError(
            f"The answers of {unique_name!r} cannot be cached: an argument is not JSON ({error})."
        ) from error
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
