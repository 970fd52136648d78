"""Pictures as PNG (ISO/IEC 15948, W3C PNG third edition): 8 bits a sample, grey or RGB, not interlaced; nothing else.

What a camera sends may be damaged, or made to do harm: sizes are checked before anything is inflated, every chunk's
CRC is, and the inflated size is bounded by what the header promises. An array is uint8, [h, w] or [h, w, 3].
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from gemel.core.errors import InputError
from gemel.core.values import Codes

MARK = b"\x89PNG\r\n\x1a\n"
LARGEST = 16_000_000
"""Samples of a picture at most: 4000 x 4000 grey."""
LONGEST = 16_384
"""Pixels of a side at most: a picture one pixel wide takes as long as one of many more."""

_BAND = 256  # rows undone together
_CHANNELS = {0: 1, 2: 3}  # colour type -> samples of a pixel
_OTHER = {3: "a palette", 4: "an alpha channel", 6: "an alpha channel"}
_HINT = "cameras and converters write it: PNG, 8 bits, grey or RGB, not interlaced"


def encode(picture: Codes) -> bytes:
    """The PNG of a picture; of each row the filter (none, left, up: those that are quickly undone) with the least sum
    of absolute differences is taken."""
    if (
        picture.dtype != np.uint8
        or picture.ndim not in (2, 3)
        or picture.shape[2:] not in ((), (3,))
        or not picture.size
    ):
        raise InputError(f"a picture is uint8 [h, w] or [h, w, 3], not {picture.dtype} {list(picture.shape)}")
    height, width = picture.shape[:2]
    step = 1 if picture.ndim == 2 else 3
    raw = np.zeros((height + 1, width * step + step), np.int16)  # a row above and a pixel to the left that are 0
    raw[1:, step:] = picture.reshape(height, -1)
    here = raw[1:, step:]
    tried = np.stack([here, here - raw[1:, :-step], here - raw[:-1, step:]]).astype(np.int8)
    best = np.abs(tried.astype(np.int16)).sum(2, dtype=np.int64).argmin(0)
    rows = np.concatenate([best[:, None], tried[best, np.arange(height)].view(np.uint8)], 1).astype(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if step == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return MARK + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def decode(content: bytes, largest: int = LARGEST) -> Codes:
    """The picture of a PNG; raises `InputError` that says what is wrong with it: no PNG, damaged, cut short, of a kind
    that is not read, or of more than `largest` samples."""
    if not content.startswith(MARK):
        raise InputError("this is no PNG", _HINT)
    header, packed = b"", bytearray()
    at, ended = len(MARK), False
    while not ended:
        kind, body, at = _chunk(content, at)
        if not header and kind != b"IHDR":
            raise InputError("the PNG is damaged: it does not begin with its header", "send the picture again")
        if kind == b"IHDR":
            header = body
            width, height, step = _header(body, largest)
        elif kind == b"IDAT":
            packed += body
        elif kind == b"IEND":
            ended = True
        elif not kind[0] & 32:  # a critical chunk
            raise InputError(f"the PNG has a chunk '{kind.decode('latin-1')}' that is not read here", _HINT)
    length = width * step
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(bytes(packed), height * (length + 1) + 1)
    except zlib.error as error:
        raise InputError(f"the PNG is damaged: {error}", "send the picture again") from None
    if len(rows) != height * (length + 1):
        more = "more" if len(rows) > height * (length + 1) else "less"
        raise InputError(f"the PNG is damaged: it holds {more} than {width} x {height} pixels", "send it again")
    filtered = np.frombuffer(rows, np.uint8).reshape(height, length + 1)
    picture = _unfiltered(filtered[:, 0], filtered[:, 1:], step)
    return picture if step == 1 else picture.reshape(height, width, step)


def grey(picture: Codes) -> Codes:
    """The luminance of a picture, [h, w] (weights of ITU-R BT.601); a grey one as it is."""
    if picture.ndim == 2:
        return picture
    found: Codes = np.rint(picture @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return found


def _chunk(content: bytes, at: int) -> tuple[bytes, bytes, int]:
    """Kind, body, and where the next one begins."""
    if at + 12 > len(content):
        raise InputError(f"the PNG is cut short after {len(content)} bytes", "send the picture again")
    (length,) = struct.unpack_from(">I", content, at)
    kind, end = content[at + 4 : at + 8], at + 12 + length
    if end > len(content):
        raise InputError(f"the PNG is cut short after {len(content)} bytes", "send the picture again")
    body = content[at + 8 : end - 4]
    if zlib.crc32(kind + body) != struct.unpack_from(">I", content, end - 4)[0]:
        raise InputError("the PNG is damaged: a checksum (CRC) does not fit", "send the picture again")
    return kind, body, end


def _header(body: bytes, largest: int) -> tuple[int, int, int]:
    """Width, height, samples of a pixel."""
    if len(body) != 13:
        raise InputError("the PNG is damaged: its header has another length", "send the picture again")
    width, height, depth, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", body)
    if colour in _OTHER:
        raise InputError(f"the PNG has {_OTHER[colour]}, which is not read here", _HINT)
    if depth != 8:
        raise InputError(f"the PNG has {depth} bits a sample, not 8", _HINT)
    if interlaced:
        raise InputError("the PNG is interlaced, which is not read here", _HINT)
    if colour not in _CHANNELS or packing or filtering or not width or not height:
        raise InputError("the PNG is damaged: its header makes no sense", "send the picture again")
    step = _CHANNELS[colour]
    if width * height * step > largest or max(width, height) > LONGEST:
        hint = f"at most {largest // step:,} are read, {LONGEST:,} to a side"
        raise InputError(f"the picture has {width} x {height} pixels, too many", hint)
    return width, height, step


def _unfiltered(filters: Codes, rows: Codes, step: int) -> Codes:
    """The samples [h, n] of filtered rows; a row needs the one above it."""
    if (bad := int(filters.max())) > 4:
        raise InputError(f"the PNG is damaged: there is no filter {bad}", "send the picture again")
    out = np.empty_like(rows)
    above, at = np.zeros(rows.shape[1], np.uint8), 0
    while at < len(rows):
        kind, end = int(filters[at]), at + 1
        if kind > 2:
            end = min(at + _BAND, len(rows))
            out[at:end] = _chained(filters[at:end], rows[at:end], above, step)
        elif kind == 1:
            out[at] = np.cumsum(rows[at].reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)
        else:
            out[at] = rows[at] + above if kind == 2 else rows[at]
        above, at = out[end - 1], end
    return out


def _chained(filters: Codes, rows: Codes, above: Codes, step: int) -> Codes:
    """Rows in which a sample waits for those to the left of, above and above left of it: all that lie on one diagonal
    are done at once. The rows are shifted, each by one pixel more than the one above, so that a diagonal is a column.
    """
    h, w = len(rows), rows.shape[1] // step
    raw = np.zeros((w + h, h, step), np.int16)
    out = np.zeros((w + h + 1, h + 1, step), np.int16)  # a row above, and a diagonal before the first
    out[1 : w + 1, 0] = above.reshape(w, step)
    for r in range(h):
        raw[r + 1 : r + 1 + w, r] = rows[r].reshape(w, step)
    here = np.arange(w + h)[:, None] - np.arange(h) - 1
    inside = ((here >= 0) & (here < w))[..., None]
    left, up, mean, paeth = ((filters == kind).astype(np.int16)[:, None] for kind in (1, 2, 3, 4))
    for k in range(1, w + h):
        a, b, c = out[k, 1:], out[k, :-1], out[k - 1, :-1]
        p, q, r3 = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
        nearest = np.where((p <= q) & (p <= r3), a, np.where(q <= r3, b, c))
        out[k + 1, 1:] = ((raw[k] + left * a + up * b + mean * ((a + b) >> 1) + paeth * nearest) & 255) * inside[k]
    found = np.empty((h, w, step), np.uint8)
    for r in range(h):
        found[r] = out[r + 2 : r + 2 + w, r + 1]
    return found.reshape(h, w * step)
