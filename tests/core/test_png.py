"""PNG: what is written is read again, all five filters are undone, and what is wrong is said before harm is done."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from gemel.core import png
from gemel.core.errors import InputError
from gemel.core.values import Codes

SHAPES = some.one_of(
    some.tuples(some.integers(1, 9), some.integers(1, 9)),
    some.tuples(some.integers(1, 9), some.integers(1, 9), some.just(3)),
)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def whole(header: tuple[int, ...], packed: bytes, *between: bytes) -> bytes:
    start = png.MARK + chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    return start + b"".join(between) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def filtered(picture: Codes, filters: list[int]) -> bytes:
    """Written pixel by pixel, as the standard says it (clause 9)."""
    step = 1 if picture.ndim == 2 else 3
    rows, out = picture.reshape(len(picture), -1).astype(int), b""
    for y, row in enumerate(rows):
        kind, line = filters[y % len(filters)], []
        for x, value in enumerate(row):
            a = row[x - step] if x >= step else 0
            b = rows[y - 1, x] if y else 0
            c = rows[y - 1, x - step] if y and x >= step else 0
            near = min((a, b, c), key=lambda one: abs(a + b - c - one))
            line.append((value - (0, a, b, (a + b) // 2, near)[kind]) % 256)
        out += bytes([kind, *line])
    height, width = picture.shape[:2]
    return whole((width, height, 8, 0 if step == 1 else 2, 0, 0, 0), zlib.compress(out))


@given(arrays.arrays(np.uint8, SHAPES))
def test_what_is_written_is_read_again(picture: Codes) -> None:
    assert np.array_equal(png.decode(png.encode(picture)), picture)


@given(arrays.arrays(np.uint8, SHAPES), some.lists(some.integers(0, 4), min_size=1, max_size=6))
def test_every_mixture_of_filters_is_undone(picture: Codes, filters: list[int]) -> None:
    assert np.array_equal(png.decode(filtered(picture, filters)), picture)


def test_more_rows_than_are_undone_together() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (600, 5), np.uint8)
    for kinds in ([4, 3, 4, 4, 1], [0, 4], [2, 0, 3]):
        assert np.array_equal(png.decode(filtered(picture, kinds)), picture)


def test_several_pieces_and_notes_in_between() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = png.encode(picture)
    noted = content[:33] + chunk(b"tEXt", b"Comment\0hello") + content[33:]
    assert np.array_equal(png.decode(noted), picture)


GREY = (4, 2, 8, 0, 0, 0, 0)
ROWS = zlib.compress(bytes(10))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no PNG"),
        (b"GIF89a" + bytes(50), "no PNG"),
        (png.MARK, "cut short"),
        (whole(GREY, ROWS)[:-20], "cut short"),
        (whole(GREY, ROWS).replace(b"IHDR", b"IHDX"), "CRC"),
        (png.MARK + chunk(b"IDAT", ROWS), "begin with its header"),
        (png.MARK + chunk(b"IHDR", b"123"), "another length"),
        (whole((4, 2, 8, 3, 0, 0, 0), ROWS), "palette"),
        (whole((4, 2, 8, 6, 0, 0, 0), ROWS), "alpha"),
        (whole((4, 2, 16, 0, 0, 0, 0), ROWS), "16 bits"),
        (whole((4, 2, 8, 0, 0, 0, 1), ROWS), "interlaced"),
        (whole((0, 2, 8, 0, 0, 0, 0), ROWS), "makes no sense"),
        (whole((4, 2, 8, 0, 1, 0, 0), ROWS), "makes no sense"),
        (whole((100_000, 100_000, 8, 0, 0, 0, 0), ROWS), "too many"),
        (whole((1, 16_000_000, 8, 0, 0, 0, 0), ROWS), "to a side"),
        (whole(GREY, b"not deflated"), "damaged"),
        (whole(GREY, zlib.compress(bytes(5))), "less than 4 x 2"),
        (whole(GREY, zlib.compress(bytes(500))), "more than 4 x 2"),
        (whole(GREY, zlib.compress(b"\x05" + bytes(9))), "no filter 5"),
        (whole(GREY, ROWS, chunk(b"ABCD", b"")), "'ABCD'"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        png.decode(content)


def test_a_bomb_is_not_inflated() -> None:
    """Ten megabytes of zeros in ten kilobytes: only as much is inflated as the header promises."""
    with pytest.raises(InputError, match="more than"):
        png.decode(whole(GREY, zlib.compress(bytes(10_000_000), 9)))


@given(some.binary(max_size=60), some.integers(0, 90))
def test_no_bytes_make_it_fail_otherwise(noise: bytes, at: int) -> None:
    content = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for tried in (png.MARK + noise, content[:at] + noise + content[at + len(noise) :]):
        with suppress(InputError):
            png.decode(tried)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 3), np.uint8)])
def test_only_pictures_are_written(wrong: Codes) -> None:
    with pytest.raises(InputError, match="a picture is uint8"):
        png.encode(wrong)


def test_colour_becomes_luminance() -> None:
    picture = np.zeros((1, 3, 3), np.uint8)
    picture[0, 0, 0] = picture[0, 1, 1] = picture[0, 2, 2] = 255
    assert png.grey(picture).tolist() == [[76, 150, 29]]
    assert png.grey(picture[..., 0]) is not None
