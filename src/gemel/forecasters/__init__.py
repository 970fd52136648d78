"""The wing of forecasters: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "naive": "gemel.forecasters.naive:Naive",
    "seasonal_naive": "gemel.forecasters.seasonal_naive:SeasonalNaive",
    "theta": "gemel.forecasters.theta:Theta",
    "linear": "gemel.forecasters.linear:Linear",
    "foundation": "gemel.forecasters.foundation.forecaster:Foundation",
    "conformal": "gemel.forecasters.conformal:Conformal",
    "pool": "gemel.forecasters.pool:Pool",
    "chronos": "gemel.forecasters.guests.chronos:Chronos",
    "timesfm": "gemel.forecasters.guests.timesfm:Timesfm",
    "toto": "gemel.forecasters.guests.toto:Toto",
}
