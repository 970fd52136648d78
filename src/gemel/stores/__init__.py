"""The wing of stores: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "duckdb": "gemel.stores.duckdb:Duckdb",
    "memory": "gemel.stores.memory:Memory",
}
