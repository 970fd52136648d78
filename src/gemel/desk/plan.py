"""The plan of a twin: an SVG picture whose parts are bound to signals by attributes.

A plan is put into the window's page, so nothing in it may run or reach another host: only drawing elements, references
inside the picture, and styles without addresses. It is checked when the twin file is loaded and again when it is asked
for, so that who draws sees a change at once. `docs/plan.md` has the rules of binding.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from gemel.core.errors import ConfigError, nearest
from gemel.core.values import Asset, Signals

SVG, XHTML = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"
MOST = 1 << 20
"""Characters of a plan."""
DRAWING = frozenset(
    (
        *("svg", "g", "defs", "title", "desc", "metadata", "style", "symbol", "use", "image", "filter", "mask"),
        *("rect", "circle", "ellipse", "line", "polyline", "polygon", "path", "text", "tspan", "textPath", "clipPath"),
        *("linearGradient", "radialGradient", "stop", "pattern", "marker", "feBlend", "feColorMatrix", "feComposite"),
        *("feDropShadow", "feFlood", "feGaussianBlur", "feMerge", "feMergeNode", "feOffset"),
    )
)
_INSIDE = re.compile(r"#|data:image/(png|jpeg|webp|gif);base64,")
_BINDING = ("data-val", "data-unit", "data-level", "data-state", "data-subject")


def read(path: Path, signals: Signals, assets: Sequence[Asset] = ()) -> str:
    """The text of a plan, without its comments. Raises `ConfigError` with all that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([f"plan: there is no file {path}"], "draw one: see docs/plan.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"plan: cannot read {path}: {error}"]) from None
    if len(text) > MOST:
        raise ConfigError([f"plan: {path.name} has more than {MOST:,} characters"], "leave out pictures in it")
    if found := re.search(r"<!DOCTYPE|<!ENTITY|<!\[CDATA\[|<\?(?!xml\s)", text, re.IGNORECASE):
        raise ConfigError([f"plan: {path.name} has a '{found[0]}'"], "take that line out, or export it as plain SVG")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ConfigError([f"plan: {path.name} is no SVG: {error}"], "see docs/plan.md") from None
    problems = [] if root.tag == f"{{{SVG}}}svg" else [f'the picture must be an <svg xmlns="{SVG}">']
    for element in root.iter():
        problems += _alien(element)
        problems += _unbound(element, signals, [a.id for a in assets])
    if problems:
        raise ConfigError([f"plan: {line}" for line in dict.fromkeys(problems)], "see docs/plan.md", where=path.name)
    return text


def _alien(element: ET.Element) -> Iterator[str]:
    """What does more than draw. Elements of drawing programs' own name spaces do nothing, and may stay."""
    space, _, name = element.tag.rpartition("}")
    if space in ("", f"{{{XHTML}") or (space == f"{{{SVG}" and name not in DRAWING):
        yield f"<{name}> is no drawing; a plan has shapes, texts, gradients and filters"
    if name == "style" and _reaches(element.text or ""):
        yield "<style> has an address, an import or a backslash"
    for full, value in element.attrib.items():
        key = full.rpartition("}")[2].lower()
        if key.startswith("on"):
            yield f"<{name} {key}=...> would run a script"
        leads = key in ("href", "src") and not _INSIDE.match(value.strip())
        if leads or ((key == "style" or "url" in value.lower()) and _reaches(value)):
            yield f"<{name} {key}='{value[:60]}'> leads out of the picture"


def _reaches(style: str) -> bool:
    """Whether a style could load something."""
    outside = re.search(r"url\(\s*(?!['\"]?#)", style, re.IGNORECASE)
    return bool(outside or "\\" in style or "//" in style or "@import" in style.lower())


def _unbound(element: ET.Element, signals: Signals, assets: Collection[str]) -> Iterator[str]:
    """Names that are no signal's, and bindings that do not say enough."""
    for key in _BINDING:
        if key not in element.attrib:
            continue
        held = element.attrib[key]
        name, _, words = held.partition(":")
        known = (*signals.names, *assets) if key == "data-subject" else signals.names
        for one in held.split() if key == "data-subject" else [name] if key == "data-state" else [held]:
            if one not in known:
                yield f"{key}='{held}': there is no '{one}'{nearest(one, known)}"
        if key == "data-state" and not all(re.fullmatch(r"[A-Za-z0-9_-]+", word) for word in words.split("|")):
            yield f"{key}='{held}': write the words of its codes 0, 1, ... so: {name}:off|slow|fast"
        if key == "data-level" and name in signals:
            signal = signals.named(name)
            for end, limit in (("data-low", signal.low), ("data-high", signal.high)):
                if not re.fullmatch(r"-?\d+(\.\d+)?", element.attrib.get(end, "" if limit is None else f"{limit:.9f}")):
                    yield f"{key}='{held}': the signal has no such limit, so {end} must be a number"
            if element.tag.rpartition("}")[2] != "rect":
                yield f"{key}='{held}': only a rect can be filled"
