"""The wing of connectors: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "line": "gemel.packs.manufacturing.live:Line",
    "mqtt": "gemel.connectors.mqtt:Mqtt",
    "replay": "gemel.connectors.replay:Replay",
    "transformer": "gemel.packs.energy.transformer:Plant",
    "virtual": "gemel.connectors.virtual:Virtual",
}
