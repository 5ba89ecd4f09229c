"""The live part of the explorer, for the page of the app in the admin site."""

from __future__ import annotations

from typing import Any

from django import template

from gearmanny.contrib.django.explorer.access import may_view
from gearmanny.contrib.django.explorer.now import Now, look_around
from gearmanny.contrib.django.settings import get_settings

register = template.Library()


@register.simple_tag(takes_context=True)
def gearmanny_now(context: dict[str, Any]) -> Now | None:
    """Returns what is going on now; None for who may not see it, or where jobs have no records."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if get_settings().RECORDS.STORE is None or user is None or not may_view(user):
        return None
    return look_around()
