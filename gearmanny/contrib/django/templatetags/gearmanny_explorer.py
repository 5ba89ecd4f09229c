"""The live part of the explorer, for the page of the app in the admin site."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse

from gearmanny.contrib.django.explorer.access import may_view
from gearmanny.contrib.django.explorer.now import Now, look_around
from gearmanny.contrib.django.settings import get_settings

LIST = "gearmanny_jobrecord_changelist"

register = template.Library()


@register.simple_tag(takes_context=True)
def gearmanny_now(context: dict[str, Any]) -> Now | None:
    """Returns what is going on now; None for who may not see it, where jobs have no records, or
    where this admin site has no pages about jobs."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if get_settings().RECORDS.STORE is None or user is None or not may_view(user):
        return None
    try:
        reverse(f"admin:{LIST}", current_app=getattr(request, "current_app", None))
    except NoReverseMatch:
        return None
    return look_around()
