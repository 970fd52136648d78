"""Chronos-Bolt tiny with random weights: the speed of its package can be measured without its weights.

Needs `gemel[chronos]`. The shape is that of `amazon/chronos-bolt-tiny`, 8.65 M parameters (published as 9 M).
Sources: what all sizes share (patches of 16, context 2048, 64 steps, deciles, REG token, two-word vocabulary) stands in
the published config.json of `autogluon/chronos-bolt-small` and `-base`, and their width and depth are those of
`google/t5-efficient-small` and `-base`; tiny has those of `google/t5-efficient-tiny` (Tay et al. 2021,
arXiv:2109.10686, table 1): 4 layers, width 256, feed-forward 1024, 4 heads of 64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tiny(folder: str | Path, seed: int = 0, **other: Any) -> Path:
    """Writes a checkpoint as its package reads it; returns the folder. `other` changes the shape (`d_model=16`)."""
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    shape = {"d_model": 256, "d_ff": 1024, "d_kv": 64, "num_heads": 4, "num_layers": 4, "num_decoder_layers": 4}
    config = T5Config(
        **(shape | other),
        vocab_size=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        reg_token_id=1,
        feed_forward_proj="relu",
        dropout_rate=0.1,
        initializer_factor=0.05,
        layer_norm_epsilon=1e-6,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=128,
        architectures=["ChronosBoltModelForForecasting"],
        chronos_pipeline_class="ChronosBoltPipeline",
        chronos_config={
            "context_length": 2048,
            "prediction_length": 64,
            "input_patch_size": 16,
            "input_patch_stride": 16,
            "quantiles": [i / 10 for i in range(1, 10)],
            "use_reg_token": True,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        ChronosBoltModelForForecasting(config).save_pretrained(folder)
    return Path(folder)
