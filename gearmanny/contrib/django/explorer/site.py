"""What the pages of the explorer share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst

from gearmanny.contrib.django.explorer import access
from gearmanny.contrib.django.explorer.values import shortened
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.records.summaries import Summarized

logger = logging.getLogger("gearmanny.explorer")

_UNREADABLE = (
    *(StoreUnavailable, InvalidOption),  # the latter where there are no tables
    *(OperationalError, InterfaceError, ProgrammingError),
)

_TEMPLATES = "admin/gearmanny/jobrecord"


class StoreAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Pages that say so where the database of the records cannot be read."""

    def pages(self) -> list[Any]:
        """Returns the pages, with their addresses."""
        return super().get_urls()

    def get_urls(self) -> list[Any]:
        urls = self.pages()
        for url in urls:
            url.callback = self._readable(url.callback)
        return urls

    def _readable(self, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                return view(request, *args, **kwargs)
            except _UNREADABLE as error:
                logger.warning("The records cannot be read: %s", error)
                return self._unreadable(request, error)

        return wrapped

    def _unreadable(self, request: HttpRequest, error: Exception) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "error": shortened(str(error)),
        }
        return TemplateResponse(request, "admin/gearmanny/unreadable.html", context, status=503)


class ExplorerAdmin(StoreAdmin):
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
