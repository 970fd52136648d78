"""The lab: what the network may see, that the corpus repeats itself, that a killed run goes on, that graphs agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from gemel.core.errors import ConfigError, InputError  # noqa: E402
from gemel.core.foundation import Graph, Reach  # noqa: E402
from gemel.forecasters.foundation.ask import Way, quantiles  # noqa: E402
from gemel.lab.corpus import Corpus, Mixture, Pool, bank, centred, hide, read_pool, thinned  # noqa: E402
from gemel.lab.evaluate import asked, rolling  # noqa: E402
from gemel.lab.network import DECILES, Network, Scaled, Shape, pinball, scaled  # noqa: E402
from gemel.lab.priors import FAMILIES, Draw, unit  # noqa: E402
from gemel.lab.recipe import Recipe, recipe_of  # noqa: E402
from gemel.lab.train import Run, Standing, end, pretrain, strength  # noqa: E402

SHAPE = Shape(width=32, heads=2, layers=2, patch=8)
MIXTURE = Mixture(patch=8, lengths=(4, 12), tokens=384, rows=26, row=256, renew=4, hidden=4)
RECIPE = Recipe(shape=SHAPE, mixture=MIXTURE, steps=6, warm=2)
WAY, REACH = Way((10, 5), flip=True, small=False), Reach(window=12, horizon=4, patch=8)


def silent(now: Standing) -> None:
    """Nobody watches."""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def awake(shape: Shape = SHAPE, seed: int = 0) -> Network:
    """A network whose blocks do something: fresh ones add nothing."""
    torch.manual_seed(seed)
    network = Network(shape).eval()
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    return network


def windows(b: int = 3, s: int = 1, t: int = 10, seed: int = 1):
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(b, s, t, SHAPE.patch, generator=draw)
    return values, (torch.rand(values.shape, generator=draw) > 0.1).float()


@torch.no_grad()
def test_no_position_sees_its_future_or_what_is_hidden():
    network = awake()
    values, seen = windows()
    first = network(values, seen)
    values[:, :, 6:] += 100.0
    assert torch.equal(first[:, :, :6], network(values, seen)[:, :, :6])
    seen[:, :, 6:] = 0.0
    blind = network(values, seen)
    values[:, :, 6:] = 7.0
    assert torch.equal(blind, network(values, seen))


@torch.no_grad()
@pytest.mark.parametrize(("factor", "shift"), [(3.0, 0.0), (1.0, 5.0), (0.25, -2.0)])
def test_shift_and_scale_pass_through(factor, shift):
    network = awake()
    values, seen = windows()
    a, b = network(values, seen), network(values * factor + shift, seen)
    torch.testing.assert_close(a * factor + shift, b, rtol=2e-3, atol=2e-3)


@torch.no_grad()
def test_variates_see_each_other_and_one_alone_is_left_as_it_was():
    network = awake()
    values, seen = windows(s=3)
    together = network(values, seen)
    torch.nn.init.zeros_(network.across.out.weight)
    for p in network.across.down.parameters():
        torch.nn.init.zeros_(p)
    alone = torch.cat([network(values[:, i : i + 1], seen[:, i : i + 1]) for i in range(3)], dim=1)
    torch.testing.assert_close(network(values, seen), alone)
    assert not torch.allclose(together, alone)


def test_scaling_of_a_ramp_by_hand():
    values = torch.arange(24.0).view(1, 1, 3, 8)
    seen = torch.ones_like(values)
    seen[:, :, 2] = 0.0
    view = Scaled(*(x.numpy() for x in vars(scaled(values, seen)).values()))
    assert view.mean.flatten().tolist() == [3.5, 7.5, 7.5]
    np.testing.assert_allclose(view.deviation.flatten(), [np.arange(8).std(), *[np.arange(16).std()] * 2], rtol=1e-5)
    w = np.exp(np.arange(-7, 1) / 4)
    recent = np.sinh(view.recent.flatten()) * view.deviation.flatten() + view.mean.flatten()
    np.testing.assert_allclose(recent[0], (w * np.arange(8)).sum() / w.sum(), rtol=1e-4)
    assert abs(recent[1] - recent[2]) < 1e-3
    assert 12 < recent[1] < 13  # of the second patch 8 .. 15, and hardly of the first


def test_pinball_is_the_textbook_one_and_so_is_its_slope():
    draw = torch.Generator().manual_seed(3)
    answer = torch.randn(4, 5, 9, generator=draw, dtype=torch.float64, requires_grad=True)
    target, weight = torch.randn(4, 5, generator=draw, dtype=torch.float64), torch.ones(4, 5, dtype=torch.float64)
    weight[0] = 0.0
    levels = torch.tensor(DECILES, dtype=torch.float64)
    mine = pinball(answer, target, weight, levels)
    (slope,) = torch.autograd.grad(mine, answer)
    e = target[..., None] - answer
    book = (torch.maximum(levels * e, (levels - 1) * e).mean(-1) * weight).sum() / weight.sum()
    torch.testing.assert_close(mine, book)
    torch.testing.assert_close(slope, torch.autograd.grad(book, answer)[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_draws_finite_varied_rows_again_and_again(name):
    family = FAMILIES[name][0]
    rows = unit(family(Draw(5), 24, 512))
    assert rows.shape == (24, 512)
    assert torch.isfinite(rows).all()
    assert (rows.std(-1) > 0.5).float().mean() > 0.8
    assert torch.equal(rows, unit(family(Draw(5), 24, 512)))
    assert not torch.equal(rows, unit(family(Draw(6), 24, 512)))


def test_a_bank_holds_all_families():
    assert bank(Draw(1), 60, 128).shape[1] == 128


def test_windows_depend_on_seed_and_step_alone():
    series = [np.sin(np.arange(n) / 5).astype(np.float32) for n in (60, 700, 3000)]
    late = Corpus(MIXTURE, series)
    straight = Corpus(MIXTURE, series)
    for step in range(7):
        want = straight.windows(step)
    got = late.windows(6)
    assert torch.equal(want.values, got.values)
    assert torch.equal(want.hidden, got.hidden)
    assert torch.isfinite(got.values).all()
    other = Corpus(replace(MIXTURE, seed=1), series).windows(6)
    assert other.values.shape != want.values.shape or not torch.equal(other.values, want.values)


def test_pool_rows_are_pieces_of_one_series():
    series = [np.arange(40, dtype=np.float32), np.arange(1000, 1100, dtype=np.float32)]
    rows = Pool(series, power=0.0).rows(Draw(2), 200, 50)
    for row in rows.numpy():
        y = row[np.isfinite(row)]
        assert len(y) >= 25
        assert (np.diff(y) == 1).all()
    assert np.isnan(rows.numpy()).any()


def test_thinned_and_centred_leave_gaps_out():
    y = np.array([1, 3, np.nan, 5, np.nan, np.nan], np.float32)
    np.testing.assert_array_equal(thinned(y, 2), [2, 5, np.nan])
    x, _ = centred(torch.tensor([[1.0, 3.0, 99.0], [4.0, 4.0, 4.0]]), torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(x, [[-1, 1, 0], [0, 0, 0]], atol=1e-4)


def test_hidden_runs_leave_the_first_patch():
    hidden = hide(Draw(4), 500, 12, 4)
    assert not hidden[:, 0].any()
    assert 0.1 < float(hidden.mean()) < 0.5


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("gemel.lab.train.EVERY", 2)
    straight = pretrain(RECIPE, tmp_path / "a", watch=silent)

    def dies(now: Standing) -> None:
        if now.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(RECIPE, tmp_path / "b", watch=dies, save_s=0.0)
    told: list[str] = []
    resumed = pretrain(RECIPE, tmp_path / "b", watch=lambda now: told.append(str(now)))
    assert told[0] == "goes on after step 2"
    assert resumed.state.log == straight.state.log
    for name, weights in straight.average.items():
        assert torch.equal(weights, resumed.average[name])
    assert (tmp_path / "b" / "stable.pt").exists()


def test_a_run_needs_an_end_and_its_own_folder(tmp_path):
    with pytest.raises(ConfigError, match="needs an end"):
        pretrain(replace(RECIPE, steps=0), tmp_path)
    Run(RECIPE, tmp_path).save()
    with pytest.raises(ConfigError, match=r"shape\.width"):
        Run(replace(RECIPE, shape=replace(SHAPE, width=64)), tmp_path).load()
    with pytest.raises(InputError, match="no run in"):
        Run.found(tmp_path / "nothing")
    assert Run.found(tmp_path).recipe == RECIPE


def test_the_rate_warms_up_stays_and_falls():
    run = Run(replace(RECIPE, steps=100, warm=10, decay=0.5), Path("unused"))
    rates = []
    for step in range(100):
        run.state.step = step
        run.state.fall = 50 if step >= 50 else 0
        rates.append(strength(run.recipe, run.state))
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[10:50]) == {1.0}
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)
    assert end(run.recipe, run.state) == 100


def test_a_recipe_survives_its_card():
    import json
    from dataclasses import asdict

    assert recipe_of(json.loads(json.dumps(asdict(RECIPE)))) == RECIPE


def test_training_learns(tmp_path):
    t = np.arange(4000)
    series = [np.sin(2 * np.pi * t / 24 + k).astype(np.float32) for k in range(4)]
    recipe = replace(RECIPE, steps=60, rate=1e-2, mixture=replace(MIXTURE, real=1.0, rates=(1,), lengths=(12,)))
    run = pretrain(recipe, tmp_path, series, watch=silent)
    untrained = rolling(series, 8, lambda c, h: quantiles(asked(Network(SHAPE)), c, h, WAY, REACH))
    trained = rolling(series, 8, lambda c, h: quantiles(asked(run.averaged()), c, h, WAY, REACH))
    assert trained["CRPS"] < 0.7 * untrained["CRPS"]


def test_graphs_agree_with_the_network(tmp_path, recwarn):
    export = pytest.importorskip("gemel.lab.export")
    run = Run(RECIPE, tmp_path)
    run.average = awake().state_dict()
    card = export.export(run, tmp_path)
    assert card["difference"]["foundation.onnx"] < 1e-4
    assert card["difference"]["foundation.int8.onnx"] < 0.1
    assert card["sha256"].keys() == card["bytes"].keys() == {"foundation.onnx", "foundation.int8.onnx"}
    ask, direct = Graph(tmp_path / "foundation.onnx"), asked(run.averaged())
    walk = np.random.default_rng(0).normal(size=300).cumsum()
    contexts = [walk, walk[:5], np.r_[walk[:80], np.inf, walk[81:90]]]
    got = quantiles(ask, contexts, 19, WAY, REACH)
    np.testing.assert_allclose(got, quantiles(direct, contexts, 19, WAY, REACH), rtol=1e-4, atol=1e-4)
    assert (np.diff(got, axis=-1) >= 0).all()
    assert not recwarn.list


def test_a_pool_is_read_and_split_by_name(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"source": ["a"] * 300, "id": [str(i) for i in range(300)]}
    values = [np.arange(60, dtype=np.float32) if i else np.zeros(3, np.float32) for i in range(300)]
    pq.write_table(pa.table({**rows, "values": pa.array(list(values), pa.list_(pa.float32()))}), tmp_path / "p.parquet")
    keep, out = read_pool(tmp_path / "p.parquet")
    assert len(keep) + len(out) == 299
    assert 3 <= len(out) <= 35
