"""Drawn parts: the same seed is the same part, defects stand where the mask says and are as visible as asked."""

from __future__ import annotations

import numpy as np
import pytest

from gemel.core.errors import InputError
from gemel.lab.defects import CONTRASTS, DEFECTS, SIDE, part


@pytest.mark.parametrize("kind", ["", *DEFECTS])
def test_a_part_is_a_picture_and_a_mask_and_the_same_for_the_same_seed(kind: str) -> None:
    for seed in range(5):
        picture, mask = part(np.random.default_rng(seed), kind)
        again, same = part(np.random.default_rng(seed), kind)
        assert picture.dtype == np.uint8
        assert picture.shape == mask.shape == (SIDE, SIDE)
        assert np.array_equal(picture, again)
        assert np.array_equal(mask, same)
        assert mask.any() == bool(kind)


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_stronger_contrast_changes_the_picture_more_and_where_the_mask_is(kind: str) -> None:
    inside, outside, faint = [], [], []
    for seed in range(20):
        plain, mask = part(np.random.default_rng(seed), kind, CONTRASTS[kind][1])
        weak, _ = part(np.random.default_rng(seed), kind, CONTRASTS[kind][0])
        none, _ = part(np.random.default_rng(seed), kind, 1e-9)
        change = np.abs(plain.astype(float) - none)
        inside.append(change[mask].mean())
        outside.append(np.median(change[~mask]))
        faint.append(np.abs(weak.astype(float) - none)[mask].mean())
    assert np.mean(inside) > 5 * np.mean(outside) + 5
    assert 1.5 < np.mean(inside) / np.mean(faint) < 6.0


def test_parts_differ_in_light_place_and_finish() -> None:
    rng = np.random.default_rng(0)
    seen = np.stack([part(rng)[0] for _ in range(40)]).astype(float)
    assert seen.mean((1, 2)).std() > 8
    assert seen.std(0).mean() > 15


def test_an_unknown_defect_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'dent'"):
        part(np.random.default_rng(0), "dint")
