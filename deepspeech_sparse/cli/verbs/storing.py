"""Model files: written, looked into."""

from pathlib import Path
from typing import Literal

from ..errors import UsageError


def export(
    run: Path,
    *,
    out: Path,
    values: Literal[
        "float32", "float16", "int8", "codebook4", "codebook5", "codebook6", "codebook7", "codebook8"
    ] = "float32",
    codec: Literal["none", "zstd", "entropy"] = "zstd",
) -> None:
    """Write a trained model as one self-contained .safetensors file, its zeros left out.

    Args:
        run: run folder (its best checkpoint), checkpoint, or a model file to be made smaller
        out: the model file
        values: of matrices and kernels: float32 loses nothing; float16; int8 with a scale for each row; codebookK, at
            most 2^K values per tensor. Biases and norms stay float32
        codec: zstd loads fast; entropy makes quantised files up to 9 % smaller; none can be read without a library
    """
    from ...export import export as export_model

    written = export_model(run, out=out, values=values, codec=codec)
    print(written)
    print(written.sizes)


def info(model: Path | None = None, *, runtime: bool = False) -> None:
    """Tell what a model is and how the sparse engine stores it, or with --runtime what computes on this machine.

    Args:
        model: .safetensors file, run folder or checkpoint
        runtime: also tell which kernels multiply sparse matrices here and why, which could be forced, how many threads
            there are, whether there is a compiler, and versions
    """
    from rich.console import Console

    if model is None and not runtime:
        raise UsageError("info: give a model, or --runtime")
    console = Console()
    if model is not None:
        from ...evaluation.in_memory import packed_weights, print_packed
        from ...export import info as model_info

        model_info(model).print(console)
        print_packed(packed_weights(model), console)
    if runtime:
        from ...machine.description import machine

        console.print(str(machine()), highlight=False, markup=False, soft_wrap=True)
