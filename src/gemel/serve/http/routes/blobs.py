"""Pictures and sounds that a twin keeps."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from gemel.core.blobs import media
from gemel.serve.http.errors import DOCUMENTED
from gemel.serve.http.routing import PREFIX, Name, hosted, needs

route = APIRouter(prefix=PREFIX)
Code = Annotated[str, Path(description="13 hexadecimal digits: the value of a point.", pattern="^[0-9a-f]{13}$")]
_BINARY = {"schema": {"type": "string", "contentEncoding": "binary"}}
_KEPT: dict[int | str, Any] = {
    200: {
        "description": "What was kept, of the type that it is.",
        "content": dict.fromkeys(("image/png", "image/jpeg", "audio/wav", "application/octet-stream"), _BINARY),
    }
}


@route.get(
    "/twins/{twin}/blobs/{code}", tags=["past"],
    **{**needs("read"), "response_class": Response, "responses": {**DOCUMENTED, **_KEPT}},
)  # fmt: skip
async def blob(request: Request, twin: Name, code: Code) -> Response:
    """A blob by its code. A code never means anything else later, so the answer may be kept for ever."""
    content = await asyncio.to_thread(hosted(request, twin).twin.blobs.get, int(code, 16))
    kind = media(content)
    headers = {"cache-control": "private, max-age=31536000, immutable", "etag": f'"{code}"'}
    if kind == "application/octet-stream":
        headers["content-disposition"] = f'attachment; filename="{code}.bin"'
    return Response(content, media_type=kind, headers=headers)
