"""For tests of the native kernels themselves."""

import pytest

from deepspeech_sparse.machine.runtime import native

KERNELS = native()
needs_kernels = pytest.mark.skipif(KERNELS is None, reason="installed without native kernels, or torch is forced")
