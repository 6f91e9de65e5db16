"""Bring the database and the store to what this version needs: `python -m tools.ops.migrate`. May be repeated."""

import asyncio
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from shared.adapters.sql.engine import make_engine
from shared.adapters.sql.entra import sql_token_source
from shared.adapters.sql.migrate import upgrade
from shared.container import Application
from tools.ops._application import run


async def migrate(application: Application) -> int:
    settings = application.settings
    url = make_url(settings.metadata_db_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = make_engine(
        settings.metadata_db_url, threads=1, sql_token=sql_token_source(settings.azure_client_id)
    )
    revision = await asyncio.to_thread(upgrade, engine)
    engine.dispose()
    await application.store.prepare(origins=settings.origins)
    if application.events is not None:
        await application.events.audit.prepare()
    print(f"the database is at revision {revision}, the containers are there")
    return 0


if __name__ == "__main__":
    sys.exit(run(migrate))
