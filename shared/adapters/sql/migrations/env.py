"""Alembic runs this file for each command; the connection comes from shared.adapters.sql.migrate."""

from alembic import context

from shared.adapters.sql.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
