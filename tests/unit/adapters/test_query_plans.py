"""Pages that stay cheap however long the list is: the database walks an index in the page's order and sorts nothing."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select

from shared.adapters.sql import files, journal, outbox
from tests.support.databases import copy_of, watched_engine

PAGES = {
    "a folder's entries": files._CHILDREN,
    "a folder's entries behind a name": files._CHILDREN_AFTER,
    "one entry": files._CHILD,
    "the whole tree": files._PAGE,
    "everything": files._EVERYTHING,
    "changes behind a seq": journal._BEHIND,
    "the oldest events": outbox.OLDEST,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_from_an_index_in_order(name: str, template: Path, tmp_path: Path) -> None:
    page: Select[*tuple[Any, ...]] = PAGES[name].limit(100)
    engine = watched_engine(copy_of(template, tmp_path))
    with engine.connect() as connection:
        statement = re.sub(r"\?|:\w+", "'x'", str(page.compile(dialect=engine.dialect)))
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
    engine.dispose()
    assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN")], plan
