"""The form by which a function is called, made of its entry in the help table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext, gettext_lazy

from gearmanny.contrib.django.explorer.arguments import parse

_PREFIX = "argument-"
"""The beginning of the names of fields, which are names of arguments otherwise."""

_BOOL = [("true", gettext_lazy("yes")), ("false", gettext_lazy("no"))]


class JSONField(forms.CharField):
    """A value, written as JSON."""

    widget = forms.Textarea(attrs={"rows": 2, "cols": 40, "spellcheck": "false"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return parse(text)
        except (ValueError, RecursionError):
            raise forms.ValidationError(
                gettext_lazy("This is not JSON. Write text in double quotes.")
            ) from None


class CallForm(forms.Form):
    """The arguments of a call. What is left empty is not sent, so that its default is taken."""

    def __init__(self, help: Mapping[str, Any], data: Any = None) -> None:
        """
        Args:
            help: the entry of the function in the help table.
            data: of the request; None where the form is shown for the first time.
        """
        super().__init__(data)
        self._input: Mapping[str, Any] = help.get("input", {})
        for name, described in self._input.items():
            self.fields[_PREFIX + name] = _field(name, described)
        if "input" not in help:
            self.fields[_PREFIX] = JSONField(
                label=gettext_lazy("Arguments"),
                help_text=gettext_lazy("A JSON object: the arguments by name."),
                required=False,
            )

    def clean(self) -> dict[str, Any]:
        """Returns the values of the fields."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        whole = values.get(_PREFIX)
        if whole is not None and not isinstance(whole, dict):
            self.add_error(_PREFIX, gettext("This is not a JSON object."))
        return values

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call."""
        if not self._input:
            return self.cleaned_data.get(_PREFIX) or {}
        return {
            name: self.cleaned_data[_PREFIX + name]
            for name in self._input
            if self.data.get(_PREFIX + name, "") != "" or self._sends_empty(name)
        }

    def _sends_empty(self, name: str) -> bool:
        described = self._input[name]
        return bool(described.get("required")) and described.get("annotation") == "str"


def _field(name: str, described: Mapping[str, Any]) -> forms.Field:
    required = bool(described.get("required"))
    annotation = str(described.get("annotation", ""))
    notes = [annotation] if annotation else []
    if not required:
        notes.append(gettext("%s if it is left empty") % json.dumps(described.get("default")))
    make: Callable[..., forms.Field] = _FIELDS.get(annotation, JSONField)
    return make(label=name, required=required, help_text=", ".join(notes))


def _text(*, required: bool, **options: Any) -> forms.Field:
    # Also where it is required, a text may be empty.
    return forms.CharField(required=False, strip=False, **options)


def _choice(*, required: bool, **options: Any) -> forms.Field:
    choices = _BOOL if required else [("", "-"), *_BOOL]
    return forms.TypedChoiceField(
        choices=choices, coerce=lambda text: text == "true", required=required, **options
    )


_FIELDS: dict[str, Callable[..., forms.Field]] = {
    "str": _text,
    "int": forms.IntegerField,
    "float": forms.FloatField,
    "bool": _choice,
}
"""The fields of annotations; values of all others are written as JSON."""
