"""The tables of records in a Django project: made by migrations, of the statements of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, router
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from gearmanny.records.dialects import POSTGRESQL, SQLITE
from gearmanny.records.schema import VERSIONS, add_store, found_in, new_store_id, verify
from gearmanny.records.session import Session
from gearmanny.records.templates import Dialect, tables_with

TABLES = tables_with("gearmanny_")

DIALECTS: dict[str, Dialect] = {"postgresql": POSTGRESQL, "sqlite": SQLITE}
"""The databases that a store can be in, by the `vendor` of their backend."""


def session_on(connection: Any) -> Session:
    """Returns a session on a connection of Django's, which it opens if need be."""
    connection.ensure_connection()
    return Session(connection.connection, DIALECTS[connection.vendor], TABLES)


def find_store(alias: str, session: Session) -> str:
    """Returns the short id of the store in a database.

    Raises:
        InvalidOption: its tables are missing, or of another version.
    """
    return verify(session, f"Run manage.py migrate --database={alias}.")


class StoreVersion(SeparateDatabaseAndState):
    """The step to a version of the store.

    Tables that a worker without Django has made in the same database are kept. In databases that
    cannot have a store, the tables are made as the models say, and stay empty.
    """

    def __init__(self, version: int, state_operations: Sequence[Operation]) -> None:
        """
        Args:
            version: of the store.
            state_operations: what it means for the models.
        """
        super().__init__(state_operations=state_operations)
        self.version = version
        self.reversible = version == 1  # type: ignore[misc]

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__qualname__, [self.version, self.state_operations], {}

    def describe(self) -> str:
        return f"Makes the tables of jobs, version {self.version}"

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        if connection.vendor not in DIALECTS:
            _drop(schema_editor, from_state, app_label)
            for model in to_state.apps.get_app_config(app_label).get_models():
                schema_editor.create_model(model)
            return
        if not schema_editor.collect_sql:
            found = found_in(session_on(connection))
            if found is not None and found[1] >= self.version:
                return
        dialect = DIALECTS[connection.vendor]
        for statement in VERSIONS[self.version - 1]:
            schema_editor.execute(dialect.render(statement, TABLES), params=None)
        schema_editor.execute(
            f"INSERT INTO {TABLES.store} (id, version) VALUES ('{new_store_id()}', 1)"
            if self.version == 1
            else f"UPDATE {TABLES.store} SET version = {self.version}",
            params=None,
        )

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if router.allow_migrate(schema_editor.connection.alias, app_label):
            _drop(schema_editor, from_state, app_label)
            if schema_editor.connection.vendor in DIALECTS:
                schema_editor.execute(f"DROP TABLE {TABLES.store}", params=None)


def _drop(schema_editor: Any, state: Any, app_label: str) -> None:
    models = state.apps.get_app_config(app_label).get_models() if _is_in(state, app_label) else ()
    for model in models:
        schema_editor.delete_model(model)


def _is_in(state: Any, app_label: str) -> bool:
    return any(label == app_label for label, _ in state.models)


def name_store(using: str, **kwargs: Any) -> None:
    """Completes tables that were made without migrations, as tests may make them.

    Args:
        using: the alias of the database.
        kwargs: more of the signal `post_migrate`.
    """
    connection = connections[using]
    if connection.vendor not in DIALECTS:
        return
    made = connection.introspection.table_names()
    if TABLES.jobs in made and TABLES.store not in made:
        add_store(session_on(connection))
