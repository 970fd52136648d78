"""The wing of connectors: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "replay": "gemel.connectors.replay:Replay",
    "transformer": "gemel.packs.energy.transformer:Plant",
}
