"""The Open Inference Protocol beside the control API: which models there are, who may ask them, what they look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gemel.serve.host import Host
from gemel.serve.http.guard import Right
from gemel.serve.inference.app import LARGEST, Inference, Scope
from gemel.serve.inference.foundation import models
from gemel.trust.access import LOCAL, Caller

PREFIX = "/v2"
_OWN = r"/v2/models/(?P<twin>[^/]+)\.(?:head|network)"
_OTHER = r"/v2/models/[^/]+"
_VERSION = r"(?:/versions/[^/]+)?"
RIGHTS = [
    Right("GET", re.compile(r"/v2(?:/health/(?:live|ready))?"), ""),
    *(
        right
        for model in (_OWN, _OTHER)  # a twin's own is asked with a key for that twin
        for right in (
            Right("POST", re.compile(f"{model}{_VERSION}/infer"), "simulate", limit=None),
            Right("GET", re.compile(f"{model}{_VERSION}(?:/ready)?"), "read"),
        )
    ),
    Right("POST", re.compile(r"/v2/repository/index"), "read"),
]


def service(host: Host) -> Inference:
    """The network that ships, and what each twin's forecaster has of its own. Loads nothing until it is asked."""
    thinking = {one.twin.name: one.twin for one in host if one.twin.forecaster}
    found = models({name: (twin.forecaster.part, twin.folder) for name, twin in thinking.items() if twin.forecaster})
    return Inference(found, sees=_sees)


def _sees(scope: Scope, model: str) -> bool:
    return sees(scope.get("gemel.caller", LOCAL), model)


def sees(caller: Caller, model: str) -> bool:
    """Whether a model is the caller's business: `TWIN.head` is that of those who see the twin."""
    return caller.sees(twin) if (twin := model.rpartition(".")[0]) else True


# what the OpenAPI document says of it
def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_TEXT, _WHOLE = {"type": "string"}, {"type": "integer"}
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_TENSOR = _object(
    "name", "shape", "datatype",
    name=_TEXT, shape=_SHAPE, datatype=_TEXT, data={"type": "array"}, parameters={"type": "object"},
)  # fmt: skip
_PORT = _object("name", "shape", "datatype", name=_TEXT, shape={"type": "array", "items": _WHOLE}, datatype=_TEXT)
_PORTS, _TENSORS = ({"type": "array", "items": one} for one in (_PORT, _TENSOR))
_ASKED = _object("inputs", inputs=_TENSORS, id=_TEXT, parameters={"type": "object"}, outputs={"type": "array"})
_ANSWERED = _object(
    "model_name", "model_version", "outputs", model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_TENSORS
)
_MODEL = _object(
    "name", "versions", "platform", "inputs", "outputs",
    name=_TEXT, versions={"type": "array", "items": _TEXT}, platform=_TEXT, inputs=_PORTS, outputs=_PORTS,
)  # fmt: skip
_ROW = _object("name", "version", "state", "reason", name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT)
_SERVER = _object("name", "version", "extensions", name=_TEXT, version=_TEXT, extensions={"type": "array"})
_TROUBLE = _object("error", error=_TEXT, hint=_TEXT)
_STATES = {word: _object(word, **{word: {"type": "boolean"}}) for word in ("live", "ready")}


def paths(responses: Mapping[str, Any]) -> dict[str, Any]:
    """The routes as paths of an OpenAPI document; `responses` are those for trouble."""
    trouble = {
        status: {**text, "content": {"application/json": {"schema": _TROUBLE}}}
        for status, text in {
            **responses,
            "415": {"description": "The body is packed in a way that is not known."},
        }.items()
    }

    def route(name: str, text: str, scope: str, answer: Any, path: str = "", **more: Any) -> dict[str, Any]:
        words = re.findall(r"\{(\w+)\}", path)
        names = [{"name": word, "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}} for word in words]
        good = {"description": text, "content": {"application/json": {"schema": answer}}}
        return {
            "operationId": name, "summary": text, "tags": ["inference"], "x-scope": scope, "parameters": names,
            "responses": {"200": good, **trouble}, **more,
        }  # fmt: skip

    body = {"required": True, "content": {"application/json": {"schema": _ASKED}}}
    found = {
        PREFIX: {"get": route("inference", "The inference service.", "", _SERVER)},
        f"{PREFIX}/repository/index": {
            "post": route("models", "Every model, and why one is not ready.", "read", {"type": "array", "items": _ROW})
        },
    }
    for word, text in (("live", "The service answers."), ("ready", "Every model can be asked.")):
        found[f"{PREFIX}/health/{word}"] = {"get": _unready(route(f"inference_{word}", text, "", _STATES[word]))}
    for which, place in (
        ("", f"{PREFIX}/models/{{model}}"),
        ("_version", f"{PREFIX}/models/{{model}}/versions/{{version}}"),
    ):
        said = route(f"model{which}", "What a model takes and gives.", "read", _MODEL, place)
        well = route(f"model_ready{which}", "Whether it can be asked.", "read", _STATES["ready"], place)
        asked = route(f"infer{which}", "Ask it.", "simulate", _ANSWERED, place, requestBody=body)
        asked["x-limit"] = LARGEST
        found |= {place: {"get": said}, f"{place}/ready": {"get": _unready(well)}, f"{place}/infer": {"post": asked}}
    return found


def _unready(route: dict[str, Any]) -> dict[str, Any]:
    """Of a question about health a 503 is an answer."""
    either = {"anyOf": [_STATES["ready"], _TROUBLE]}
    route["responses"]["503"] = {"description": "Not yet.", "content": {"application/json": {"schema": either}}}
    return route
