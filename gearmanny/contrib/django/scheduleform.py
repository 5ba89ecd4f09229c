"""The form of a schedule in Django's admin site."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django.explorer.access import may_call
from gearmanny.contrib.django.explorer.arguments import decoded, read, written
from gearmanny.contrib.django.explorer.offered import is_internal
from gearmanny.contrib.django.models import JobSchedule
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import GearmanException
from gearmanny.payload.masking import masked_text
from gearmanny.payload.names import check_function_name
from gearmanny.records.scheduling import NewSchedule
from gearmanny.schedules.timetable import Timetable

DEFINITION = (
    *("name", "function", "arguments", "every", "cron", "timezone"),
    *("jitter", "catch_up", "overlap", "max_late"),
)
"""The fields that say what is called when."""

MAY_NOT_RUN = gettext_lazy("You may not call this function.")

_ANOTHER = gettext_lazy(
    "Another function does not get the values that are masked here. Write them again."
)

_LINE = forms.TextInput(attrs={"class": "vTextField"})


def may_run(user: Any, function: str) -> bool:
    """Returns whether somebody may schedule a function, or run one that is scheduled."""
    return may_call(user, function) and not is_internal(function)


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule that somebody adds or changes."""

    user: Any
    """That person, who needs the permission to call the function."""

    class Meta:
        model = JobSchedule
        fields = DEFINITION
        widgets = dict.fromkeys(("name", "function", "cron", "timezone"), _LINE)
        help_texts: ClassVar = {"arguments": gettext_lazy("A JSON object: the arguments by name.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As they are before the form changes its instance.
        self._function, arguments = self.instance.function, self.instance.arguments
        self._old = decoded(arguments)
        if arguments:
            shown = masked_text(arguments, get_settings().MASK)
            self.initial["arguments"] = written(self._old) or shown
        # Where its name has to be unique.
        self.instance._state.db = get_settings().RECORDS.DATABASE

    def clean_arguments(self) -> str:
        """Returns the arguments, if they are what a task takes, with the secrets that the page has
        masked."""
        text: str = self.cleaned_data["arguments"].strip()
        arguments = read(text, self._old)
        if self.cleaned_data.get("function") != self._function and arguments != read(text):
            # That one might show them to whoever has changed it.
            raise forms.ValidationError(_ANOTHER)
        try:
            return json.dumps(arguments, allow_nan=False)
        except ValueError as error:  # a number that is too large
            raise forms.ValidationError(str(error)) from error

    def clean_function(self) -> str:
        """Returns the function, if one can have that name."""
        function: str = self.cleaned_data["function"]
        try:
            check_function_name(function)
        except GearmanException as error:
            raise forms.ValidationError(str(error)) from error
        if not may_run(self.user, function):
            raise forms.ValidationError(MAY_NOT_RUN)
        return function

    def clean(self) -> dict[str, Any]:
        """Returns the values, if they are a timetable."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self.new()
            except GearmanException as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned

    def new(self) -> NewSchedule:
        """Returns the schedule that was described.

        Raises:
            InvalidOption: a value is invalid.
        """
        # Of a schedule that is there, the name is not in the form.
        given = {"name": self.instance.name} | self.cleaned_data
        values = {name: given[name] for name in DEFINITION}
        name, function, arguments = (values.pop(each) for each in DEFINITION[:3])
        if values["catch_up"]:
            values["overlap"] = "queue"
        values["cron"] = values["cron"] or None
        if not values["cron"]:
            values["timezone"] = "UTC"
        return NewSchedule(name, function, arguments, Timetable(**values))
