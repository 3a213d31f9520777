from __future__ import annotations

import lancedb
import pyarrow as pa
from clipserve_gateway.index.lance.scroll import PAGES_AHEAD, Scroll

LONG = "name != '" + "a" * 200_000 + "'"


async def test_what_is_kept_of_a_scroll_does_not_grow_with_its_condition(tmp_path):
    database = await lancedb.connect_async(tmp_path)
    ids = [f"{n:03}" for n in range(40)]
    table = await database.create_table("points", pa.table({"id": ids, "name": ids}))
    scroll = Scroll(table)
    first = await scroll.page("", 2, LONG, ["id"])
    assert first["id"].to_pylist() == ["000", "001"]
    assert len(scroll._ends) == PAGES_AHEAD - 1
    kept = [part for key in scroll._ends for part in key if not isinstance(part, int)]
    assert max(map(len, kept)) == 32
    # A page whose end is known, with the condition and with another one.
    assert (await scroll.page("001", 2, LONG, ["id"]))["id"].to_pylist() == ["002", "003"]
    other = await scroll.page("001", 2, "name != '002'", ["id"])
    assert other["id"].to_pylist() == ["003", "004"]
