"""What the pages of the explorer share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from gearmanny.contrib.django.explorer import access
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.records.summaries import Summarized

_TEMPLATES = "admin/gearmanny/jobrecord"


class ExplorerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Pages about jobs, for who may see them. None of them edits a row: the store does."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: JobRecord | None = None) -> bool:
        return get_settings().RECORDS.STORE is not None and access.may_view(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: JobRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: JobRecord | None = None) -> bool:
        return False

    def require_view(self, request: HttpRequest) -> None:
        """Raises PermissionDenied unless the user may see jobs."""
        if not self.has_view_permission(request):
            raise PermissionDenied

    def address(self, page: str, *arguments: str) -> str:
        """Returns the address of a page of this admin site."""
        name = f"admin:gearmanny_jobrecord_{page}"
        return reverse(name, args=arguments, current_app=self.admin_site.name)

    def page(
        self, request: HttpRequest, name: str, title: Any, context: dict[str, Any]
    ) -> HttpResponse:
        """Returns a page.

        Args:
            request: that asked for it.
            name: of its template.
            title: its title.
            context: of the template.
        """
        request.current_app = self.admin_site.name
        shared = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "may_act": access.may_act(request.user),
        }
        return TemplateResponse(request, f"{_TEMPLATES}/{name}.html", {**shared, **context})


def store_of_project() -> Summarized:
    """Returns the store, of which there is one where anybody may see pages. Its statements are part
    of the transaction of the request."""
    store = get_store()
    assert store is not None, "there is no page without a store"
    return store.of_callers
