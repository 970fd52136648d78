"""Guests keep the contract, with checkpoints of the published architectures and random weights made here.

What a network with random weights foresees is worth nothing; that it is asked and answered as its publisher does it,
and that the answer comes back at the right place, scale and level, does not hang on the weights.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.bolt import tiny

from forecasters.series import daily, frame, walk
from gemel.core.errors import ConfigError, InputError, PartError
from gemel.core.registry import build
from gemel.core.values import DECILES, Floats, Forecast
from gemel.core.worker import Worker
from gemel.forecasters.naive import Naive
from gemel.testing import check_forecaster

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:gluonts.*")  # it would like a faster JSON


def bolt(folder: Path) -> None:
    tiny(folder, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1, num_decoder_layers=1)


def chronos_2(folder: Path) -> None:
    """The published config of amazon/chronos-2, but narrow and shallow."""
    from chronos.chronos2 import Chronos2CoreConfig, Chronos2Model

    outer = [0.01, *(i / 20 for i in range(1, 20)), 0.99]
    config = Chronos2CoreConfig(
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        reg_token_id=1,
        architectures=["Chronos2Model"],
        chronos_pipeline_class="Chronos2Pipeline",
        chronos_config={
            "context_length": 8192,
            "input_patch_size": 16,
            "input_patch_stride": 16,
            "max_output_patches": 64,
            "output_patch_size": 16,
            "quantiles": outer,
            "time_encoding_scale": 8192,
            "use_arcsinh": True,
            "use_reg_token": True,
        },
    )
    Chronos2Model(config).save_pretrained(folder)


def timesfm_25(folder: Path) -> None:
    import timesfm

    timesfm.TimesFM_2p5_200M_torch(torch_compile=False).save_pretrained(folder)


@pytest.fixture
def narrow_timesfm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package knows one size only, 200M parameters, as a constant of the class."""
    pytest.importorskip("timesfm")
    from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module as Module

    whole, inner, wide = Module.config, {"input_dims": 32, "hidden_dims": 32}, dataclasses.replace
    layer = wide(whole.stacked_transformers.transformer, model_dims=32, hidden_dims=32, num_heads=2)
    small = wide(
        whole,
        tokenizer=wide(whole.tokenizer, hidden_dims=32, output_dims=32),
        stacked_transformers=wide(whole.stacked_transformers, num_layers=1, transformer=layer),
        output_projection_point=wide(whole.output_projection_point, **inner),
        output_projection_quantiles=wide(whole.output_projection_quantiles, **inner),
    )
    monkeypatch.setattr(Module, "config", small)


def toto_2(folder: Path) -> None:
    """The published config of Datadog/Toto-2.0-4m, but half as deep and an eighth as wide."""
    from toto2 import Toto2Model, Toto2ModelConfig

    config = Toto2ModelConfig(
        patch_size=32,
        d_model=32,
        num_heads=2,
        num_layers=2,
        layer_group_size=2,
        num_variate_layers_per_group=1,
        variate_layer_first=False,
        residual_attn_ratio=5.136215466577748,
        residual_mult=0.75,
        attn_bias=True,
        norm_eps=1e-4,
        per_dim_scale=True,
        qk_norm=False,
        use_xpos=True,
    )
    Toto2Model(config).save_pretrained(folder)


GUESTS: dict[str, tuple[str, str, Callable[[Path], None], dict[str, Any]]] = {
    "bolt": ("chronos", "chronos", bolt, {}),
    "chronos 2": ("chronos", "chronos", chronos_2, {}),
    "chronos 2 together": ("chronos", "chronos", chronos_2, {"together": True}),
    "timesfm": ("timesfm", "timesfm", timesfm_25, {}),
    "toto": ("toto", "toto2", toto_2, {}),
    "toto together": ("toto", "toto2", toto_2, {"together": True}),
}


@pytest.fixture(params=GUESTS)
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The spec of a guest with random weights."""
    kind, package, make, more = GUESTS[request.param]
    torch = pytest.importorskip("torch")
    pytest.importorskip(package)
    if kind == "timesfm":
        request.getfixturevalue("narrow_timesfm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make(tmp_path / "weights")
    return {"kind": kind, "model": str(tmp_path / "weights"), **more}


def ask(spec: dict[str, Any], *columns: Floats, horizon: int = 24, levels: tuple[float, ...] = DECILES) -> Forecast:
    found: Forecast = build("forecasters", spec).forecast(frame(*columns), horizon, levels=levels)
    return found


def test_contract(guest: dict[str, Any]) -> None:
    check_forecaster(lambda: build("forecasters", guest))


@pytest.mark.parametrize("unit", [1e25, 1e-9])
def test_any_unit_will_do(guest: dict[str, Any], unit: float) -> None:
    swing = 40.0 + walk(200)
    plain, other = ask(guest, swing).values, ask(guest, unit * swing).values / unit
    np.testing.assert_allclose(other, plain, rtol=1e-3)


def test_signals_without_much_to_see_get_the_naive_answer(guest: dict[str, Any]) -> None:
    few, none = np.full(200, np.nan), np.full(200, np.nan)
    few[[7, 90, 150]] = 1.0, 2.0, 4.0
    nearly = 3.0 + 1e-15 * np.arange(200)
    columns = (daily(200), few, none, np.full(200, 3.0), nearly)
    mine, naive = ask(guest, *columns), Naive().forecast(frame(*columns), 24)
    assert np.array_equal(mine.values[1:], naive.values[1:], equal_nan=True)
    assert not np.allclose(mine.values[0], naive.values[0])


def test_more_signals_than_fit_at_once(guest: dict[str, Any]) -> None:
    columns = [walk(64, seed) for seed in range(70)]
    together = ask(guest, *columns, horizon=3)
    assert np.isfinite(together.values).all()
    if "together" not in guest:  # else a signal's answer hangs on the others: that is what it is for
        alone = ask(guest, columns[68], horizon=3)
        np.testing.assert_allclose(together.values[68], alone.values[0], rtol=1e-4, atol=1e-4)


def test_a_long_history_is_cut(guest: dict[str, Any]) -> None:
    recent = walk(15_360)  # what the most far-sighted of them sees
    longer = np.concatenate((1e3 * walk(2_000, 1), recent))
    np.testing.assert_array_equal(ask(guest, recent).values, ask(guest, longer).values)


def test_the_host_keeps_its_threads(guest: dict[str, Any]) -> None:
    torch = sys.modules["torch"]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ask(guest, walk(100))
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(before)


def test_a_folder_without_weights_is_said(guest: dict[str, Any]) -> None:
    (Path(guest["model"]) / "model.safetensors").unlink()
    with pytest.raises(PartError, match=r"weights .* cannot be loaded") as caught:
        ask(guest, walk(100))
    assert "model.safetensors" in caught.value.hint


def test_weights_out_of_reach_are_said_with_a_way_round(
    guest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PartError, match=r"'nobody/nothing' cannot be loaded") as caught:
        ask({**guest, "model": "nobody/nothing"}, walk(100))
    assert "hf download nobody/nothing" in caught.value.hint


def test_broken_weights_do_not_speak(guest: dict[str, Any]) -> None:
    from safetensors.numpy import load_file, save_file

    path = Path(guest["model"]) / "model.safetensors"
    save_file({k: np.full_like(v, np.nan) for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    with pytest.raises(PartError, match="not finite"):
        ask(guest, walk(100))


def test_bolt_answers_as_its_own_package_does(tmp_path: Path) -> None:
    chronos = pytest.importorskip("chronos")
    import torch

    bolt(tmp_path)
    pipeline = chronos.BaseChronosPipeline.from_pretrained(tmp_path)
    series = daily(300)
    series[40:60] = np.nan
    theirs, _ = pipeline.predict_quantiles(torch.tensor(series, dtype=torch.float32), 60, quantile_levels=list(DECILES))
    mine = ask({"kind": "chronos", "model": str(tmp_path)}, series, horizon=60)
    np.testing.assert_allclose(mine.values[0], np.sort(theirs[0].numpy(), axis=1), rtol=1e-4, atol=1e-4)


def test_chronos_2_answers_as_its_own_package_does(tmp_path: Path) -> None:
    chronos = pytest.importorskip("chronos")
    chronos_2(tmp_path)
    pipeline = chronos.BaseChronosPipeline.from_pretrained(tmp_path)
    series = np.stack([daily(300), walk(300)], axis=1)
    series[40:60, 1] = np.nan
    levels = (0.01, 0.5, 0.95)
    spec = {"kind": "chronos", "model": str(tmp_path), "together": True}
    mine = ask(spec, *series.T, horizon=60, levels=levels)
    theirs = np.sort(pipeline.predict([series.T.astype(np.float32)], 60)[0].numpy(), axis=1)  # its own may cross
    places = [pipeline.quantiles.index(p) for p in levels]
    np.testing.assert_allclose(mine.values, theirs[:, places].transpose(0, 2, 1), rtol=1e-3, atol=1e-3)


def test_timesfm_answers_as_its_own_package_does(tmp_path: Path, narrow_timesfm: None) -> None:
    timesfm = pytest.importorskip("timesfm")
    timesfm_25(tmp_path)
    network = timesfm.TimesFM_2p5_200M_torch.from_pretrained(tmp_path, torch_compile=False)
    network.compile(
        timesfm.ForecastConfig(
            max_context=320,
            max_horizon=128,
            use_continuous_quantile_head=True,
            infer_is_positive=False,
            fix_quantile_crossing=True,
        )
    )
    series = daily(300)
    series[40:60] = np.nan
    _, theirs = network.forecast(60, [series])
    mine = ask({"kind": "timesfm", "model": str(tmp_path)}, series, horizon=60)
    np.testing.assert_allclose(mine.values[0], np.sort(theirs[0, :, 1:], axis=1), rtol=1e-3, atol=1e-3)


def test_a_folder_is_looked_for_beside_the_twin_file(tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    from gemel.config import dump, load

    bolt(tmp_path / "weights")
    (tmp_path / "twin.toml").write_text(
        'name = "t"\nevery = "15min"\nsignals = [{ name = "s0" }]\nstore = { kind = "memory" }\n'
        'forecaster = { kind = "chronos", model = "weights" }\n'
    )
    twin = load(tmp_path / "twin.toml")
    twin.stages()
    assert 'model = "weights"' in dump(twin)
    assert np.isfinite(twin.forecaster.part.forecast(frame(walk(100)), 5).values).all()


def test_it_works_in_a_process_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    bolt(tmp_path)
    spec = {"kind": "chronos", "model": str(tmp_path)}
    worker = Worker(build("forecasters", spec), budget=60.0)
    try:
        there = worker.forecast(frame(walk(100)), 5)
    finally:
        worker.close()
    np.testing.assert_allclose(there.values, ask(spec, walk(100), horizon=5).values, rtol=1e-5)


def test_only_chronos_2_sees_signals_together(tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    bolt(tmp_path)
    with pytest.raises(PartError, match="is a Chronos-Bolt, which sees no signals together"):
        ask({"kind": "chronos", "model": str(tmp_path), "together": True}, walk(100))


def test_timesfm_says_how_far_it_reaches() -> None:
    pytest.importorskip("timesfm")
    with pytest.raises(InputError, match="timesfm reaches"):
        ask({"kind": "timesfm"}, walk(100), horizon=20_000)


@pytest.mark.parametrize(("kind", "package"), [("chronos", "chronos"), ("timesfm", "timesfm"), ("toto", "toto2")])
def test_a_missing_package_is_named_with_its_extra(kind: str, package: str) -> None:
    if find_spec(package) and find_spec("torch"):
        pytest.skip("it is installed")
    with pytest.raises(ConfigError, match=f"forecaster '{kind}' needs what is not installed") as caught:
        build("forecasters", {"kind": kind})
    assert f"gemel[{kind}]" in caught.value.hint
