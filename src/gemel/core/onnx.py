"""Exported networks on onnxruntime: one thread, no spinning, so no answer depends on the load of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gemel.core.errors import PartError


def session(path: str | Path, again: str = "export it again") -> Any:
    """An open `InferenceSession` of a file; raises `PartError`, with the next step `again`, when it is no network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class for its errors
        raise PartError(f"{path} is no network that onnxruntime can load: {error}", again) from None
