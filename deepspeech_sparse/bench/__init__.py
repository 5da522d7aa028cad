"""Sparse against dense on this machine: products, recurrent layers, whole recognition. The verb `bench`."""

from .run import PARTS, bench

__all__ = ["PARTS", "bench"]
