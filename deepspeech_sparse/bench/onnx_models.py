"""The same network in ONNX Runtime, float32 and dynamic int8, where the extra `bench` is installed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .plain import PlainNetwork

try:
    import onnx  # noqa: F401 - torch's exporter and the quantisation need it
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic
except ImportError:
    onnxruntime = None


def available() -> bool:
    """Whether onnx and onnxruntime can be imported."""
    return onnxruntime is not None


def export_onnx(network: PlainNetwork, features: Tensor, path: Path) -> None:
    """Write the network as ONNX, for features (1, T, F) of any T."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter that needs no onnxscript, and of traced constants
        torch.onnx.export(
            network,
            (features,),
            path,
            dynamo=False,
            input_names=["features"],
            output_names=["logits"],
            dynamic_axes={"features": {1: "frames"}},
        )


def quantise_onnx(path: Path, quantised: Path) -> None:
    """Dynamic int8: whatever ONNX Runtime has integer operators for. It has none for GRU, which stays float32."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it recommends preprocessing, to the root logger
    try:
        quantize_dynamic(path, quantised, weight_type=QuantType.QInt8)
    finally:
        logging.getLogger().setLevel(level)


def onnx_session(path: str | Path, threads: int) -> Callable[[Tensor], Tensor]:
    """features (1, T, F) -> logits (1, T', V)"""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda features: torch.from_numpy(session.run(None, {"features": features.numpy()})[0])
