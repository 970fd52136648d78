"""Pictures of machined parts, with and without a defect, drawn by a procedure of our own.

A part is a ground or turned metal plate with a bore and two holes, seen from above: it lies a little turned, shifted
and larger or smaller; the light comes from somewhere, stronger on one side; exposure, sharpness and noise of the camera
change from picture to picture; specks of dust are allowed. A defect is a change `d` of the reflectance on a mask.

How well it is seen is its *contrast*: the root mean square of `d` over the mask, in standard deviations of what is
there anyway (finish and camera noise together). `CONTRASTS` holds the range of each kind. It begins where a person who
knows where to look still sees it: a stain or a patch of another finish at a lower contrast than a fine scratch or a
small dent, because it is larger. A scratch within 20 degrees of the marks of the tool looks like one more mark: it is
drawn at twice its contrast.

Letters: [64, 64] are rows and columns; x, y are part coordinates (-1 .. 1).
"""

from __future__ import annotations

import math

import numpy as np

from gemel.core.errors import InputError, nearest
from gemel.core.values import Bools, Codes, Floats

SIDE = 64
DEFECTS = ("scratch", "dent", "stain", "texture")
CONTRASTS = {"scratch": (2.4, 8.0), "dent": (2.4, 8.0), "stain": (1.8, 6.0), "texture": (1.8, 6.0)}
"""Kind -> the faintest and the plainest contrast that is drawn, evenly in its logarithm."""

_AXIS = (np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)
_COLUMN, _ROW = np.meshgrid(_AXIS, _AXIS)
_PIXEL = 2.0 / SIDE
_PLATE = 0.86  # half the side of the plate, part coordinates
_ALONG = math.sin(math.radians(20.0))
_HOLES = ((0.0, 0.0, 0.26), (-0.58, -0.58, 0.11), (0.58, 0.58, 0.11))  # x, y, radius


def part(rng: np.random.Generator, defect: str = "", contrast: float = 0.0) -> tuple[Codes, Bools]:
    """A picture, uint8 [64, 64], and where its defect is, bool [64, 64].

    `defect` is one of `DEFECTS` or "" for a good part; `contrast` 0 draws one from `CONTRASTS`. The same generator
    state gives the same picture. Raises `InputError` for an unknown defect.
    """
    if defect and defect not in DEFECTS:
        raise InputError(f"unknown defect '{defect}'{nearest(defect, DEFECTS)}", f"there are {', '.join(DEFECTS)}")
    turn, zoom = rng.normal(0.0, math.radians(2.5)), rng.uniform(0.95, 1.05)
    shift = rng.uniform(-2.0, 2.0, 2) * _PIXEL
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    column, row = _COLUMN - shift[0], _ROW - shift[1]
    x, y = cos * column + sin * row, cos * row - sin * column
    light = rng.uniform(0.0, 2 * math.pi)
    rough, grain = rng.uniform(0.03, 0.07), rng.uniform(0.012, 0.028)  # sd of the finish, and of the camera
    turned = rng.random() < 0.5
    finish = _turned(rng, x, y) if turned else _ground(rng, x, y)
    base = rng.uniform(0.5, 0.62)
    if turned:  # rings throw light back along two opposite sectors
        base = base * (1.0 + rng.uniform(0.05, 0.2) * (np.cos(2 * (np.arctan2(y, x) - light)) * 0.5))
    gap = np.maximum(np.abs(x), np.abs(y)) - _PLATE
    inside = np.minimum.reduce([np.hypot(x - u, y - v) - r for u, v, r in _HOLES])
    depth = np.minimum(-gap, inside)  # how far a place lies inside the surface
    surface = np.clip(depth / _PIXEL + 0.5, 0.0, 1.0)
    mask = np.zeros((SIDE, SIDE), bool)
    metal = base + rough * finish
    if defect:
        ratio = contrast or float(np.exp(rng.uniform(*np.log(CONTRASTS[defect]))))
        change, mask, along = _defect(rng, defect, x, y, depth, light, turned)
        ratio *= 2.0 if along else 1.0
        metal = metal + change * (ratio * math.hypot(rough, grain) / math.sqrt(float(np.mean(change[mask] ** 2))))
    bevel = np.exp(-(((depth - 0.03) / 0.025) ** 2)) * (0.1 + 0.12 * np.cos(np.arctan2(y, x) - light))
    picture = surface * (metal + bevel) + (1.0 - surface) * rng.uniform(0.08, 0.16)
    picture *= 1.0 + rng.uniform(0.0, 0.22) * (math.cos(light) * _COLUMN + math.sin(light) * _ROW)
    picture *= rng.uniform(0.8, 1.2)
    for _ in range(rng.integers(0, 3)):  # dust: one pixel, no defect
        picture[tuple(rng.integers(0, SIDE, 2))] += rng.choice((-1.0, 1.0)) * rng.uniform(0.02, 0.08)
    picture = _blurred(picture, rng.uniform(0.0, 0.22))
    picture += grain * rng.standard_normal((SIDE, SIDE))
    return np.clip(np.rint(picture * 255.0), 0, 255).astype(np.uint8), mask


def _ground(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Straight marks along x, of finite length; standard deviation 1."""
    streaks = rng.standard_normal((96, 10))
    streaks[1:] = 0.8 * streaks[1:] + 0.6 * streaks[:-1]
    along = np.clip((x + 1.5) * 3.0, 0, 8.99)
    left = along.astype(np.intp)
    part = along - left
    across = np.clip((y + 1.5) * 32.0, 0, 95).astype(np.intp)
    found: Floats = ((1 - part) * streaks[across, left] + part * streaks[across, left + 1]) * 1.22
    return found


def _turned(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Rings about the bore, standard deviation 1: the feed of the tool and what each pass left by chance."""
    place = np.clip(np.hypot(x, y) * 40.0, 0, 94.0)
    low = place.astype(np.intp)
    rings = rng.standard_normal(96)
    feed = np.sqrt(2.0) * np.sin(2 * np.pi * place / rng.uniform(3.0, 5.0))
    between = (1 - (place - low)) * rings[low] + (place - low) * rings[low + 1]
    found: Floats = 0.8 * 1.22 * between + 0.6 * feed
    return found


def _defect(
    rng: np.random.Generator, kind: str, x: Floats, y: Floats, depth: Floats, light: float, turned: bool
) -> tuple[Floats, Bools, bool]:
    """The change of the reflectance, in any scale, its mask, and whether it is a scratch along the marks; drawn again
    until enough of it is on the surface."""
    while True:
        u, v = rng.uniform(-0.75, 0.75, 2)
        angle = rng.uniform(0.0, math.pi)
        cos, sin = math.cos(angle), math.sin(angle)
        p, q = cos * (x - u) + sin * (y - v), cos * (y - v) - sin * (x - u)
        change, mask = _KINDS[kind](rng, p, q, light)
        on = mask & (depth > _PIXEL)
        if on.sum() >= max(0.7 * mask.sum(), 10):
            across = abs(cos * u + sin * v) / max(math.hypot(u, v), 1e-9) if turned else abs(sin)
            return change, on, kind == "scratch" and across < _ALONG


def _scratch(rng: np.random.Generator, p: Floats, q: Floats, light: float) -> tuple[Floats, Bools]:
    """A line with a slight bend: a bright ridge or a dark groove, or both side by side."""
    half, bend, width = rng.uniform(0.15, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(0.7, 1.2) * _PIXEL
    off = q - bend * p * p
    ends = np.clip((half - np.abs(p)) / _PIXEL + 0.5, 0.0, 1.0)
    line = np.exp(-0.5 * (off / width) ** 2)
    if rng.random() < 0.5:
        line = line - 0.6 * np.exp(-0.5 * ((off - 2 * width) / width) ** 2)
    return rng.choice((-1.0, 1.0)) * line * ends, (np.abs(off) < 1.2 * width) & (np.abs(p) < half)


def _dent(rng: np.random.Generator, p: Floats, q: Floats, light: float) -> tuple[Floats, Bools]:
    """A hollow: the slope towards the light is dark, the one away from it bright."""
    size, oval = rng.uniform(0.07, 0.16), rng.uniform(0.75, 1.3)
    near = np.exp(-0.5 * ((p * oval) ** 2 + q * q) / (0.5 * size) ** 2)
    slope = (math.cos(light) * p * oval + math.sin(light) * q) / (0.5 * size)
    return near * (1.6 * slope - 0.5), (p * oval) ** 2 + q * q < size * size


def _stain(rng: np.random.Generator, p: Floats, q: Floats, light: float) -> tuple[Floats, Bools]:
    """A film with a soft edge, mostly darker than the metal, with a rim where it dried."""
    field = np.zeros_like(p)
    for _ in range(3):
        size = rng.uniform(0.1, 0.24)
        a, b = rng.normal(0.0, 0.1, 2)
        field += np.exp(-0.5 * ((p - a) ** 2 + (q - b) ** 2 * rng.uniform(0.7, 1.5)) / size**2)
    level = field - 0.9
    film = 1.0 / (1.0 + np.exp(-level / 0.08)) + 0.5 * np.exp(-((level / 0.12) ** 2))
    return (-1.0 if rng.random() < 0.75 else 0.8) * film, level > 0


def _texture(rng: np.random.Generator, p: Floats, q: Floats, light: float) -> tuple[Floats, Bools]:
    """A patch whose finish is another: waves of a tool that chattered, or torn metal."""
    size, oval = rng.uniform(0.18, 0.32), rng.uniform(0.6, 1.6)
    away = (p * oval) ** 2 + (q / oval) ** 2
    patch = 1.0 / (1.0 + np.exp((np.sqrt(away) - size) / 0.03))
    if rng.random() < 0.5:
        waves = np.sin(2 * math.pi * p / (rng.uniform(3.0, 6.0) * _PIXEL) + rng.uniform(0, 6.28))
    else:
        waves = _blurred(rng.standard_normal((SIDE, SIDE)), 0.25)
    return patch * waves, away < size * size


_KINDS = {"scratch": _scratch, "dent": _dent, "stain": _stain, "texture": _texture}


def _blurred(picture: Floats, side: float) -> Floats:
    """Three taps (side, 1 - 2 side, side) along rows and columns; the border stays."""
    out = picture.copy()
    out[1:-1] += side * (picture[2:] + picture[:-2] - 2 * picture[1:-1])
    found = out.copy()
    found[:, 1:-1] += side * (out[:, 2:] + out[:, :-2] - 2 * out[:, 1:-1])
    return found
