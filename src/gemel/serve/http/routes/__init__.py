"""The control API: what may be asked of the twins, a file a subject, each route with the scope it needs."""

from gemel.serve.http.routes import (
    artifacts,
    ask,
    blobs,
    calibrations,
    deciding,
    findings,
    fork,
    hands,
    new,
    past,
    server,
    standing,
    thinking,
    twins,
)

ROUTERS = [
    one.route
    for one in (
        server,
        twins,
        thinking,
        fork,
        findings,
        deciding,
        hands,
        artifacts,
        calibrations,
        past,
        blobs,
        standing,
        ask,
        new,
    )
]
