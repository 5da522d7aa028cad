"""Speech from espeak-ng, called as a library (the wheel espeakng-loader, extra `demo`).

espeak-ng keeps state from one sentence to the next, so the same words can come out a little differently. All sentences
of a corpus are therefore spoken in order by one fresh process: the same list gives the same samples, always.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError

# From espeak-ng's public header speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
PARAMETER_RATE, PARAMETER_PITCH = 1, 3
CHARS_UTF8 = 1
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

REMEDY = 'install it with: pip install "deepspeech-sparse[demo]"'


@dataclass(frozen=True)
class Voice:
    """Who speaks, and how."""

    name: str  # dialect and variant, e.g. "en-us+f2"
    rate: int  # words per minute
    pitch: int  # 0 to 99


def speak(lines: list[tuple[str, Voice]]) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (N,) float32 and their rate in Hz for each (text, voice), in order, spoken by a fresh process.

    Raises:
        InputError: espeak-ng is not installed, or refuses a voice or a sentence
    """
    try:
        import espeakng_loader  # noqa: F401  (only asked whether it is there; the child imports it to speak)
    except ImportError as error:
        raise InputError(f"espeak-ng is not installed; {REMEDY}") from error
    command = [sys.executable, "-m", "deepspeech_sparse.corpora.espeak"]
    # Files, not pipes, for what is not read while the child speaks: a full pipe would stop both for good.
    with tempfile.TemporaryFile() as requests, tempfile.TemporaryFile() as errors:
        requests.writelines(json.dumps({"text": text, **asdict(voice)}).encode() + b"\n" for text, voice in lines)
        requests.seek(0)
        with subprocess.Popen(command, stdin=requests, stdout=subprocess.PIPE, stderr=errors) as child:
            for text, _ in lines:
                header = child.stdout.read(8)
                length, rate = np.frombuffer(header, np.int32) if len(header) == 8 else (0, 0)
                sound = child.stdout.read(2 * int(length))
                if not sound or len(sound) < 2 * length:  # the child died, perhaps in the middle of a sentence
                    child.wait()
                    errors.seek(0)
                    reason = errors.read().decode(errors="replace").strip().splitlines() or ["it stopped"]
                    raise InputError(f"espeak-ng could not speak {text!r}: {reason[-1]}")
                yield np.frombuffer(sound, np.int16).astype(np.float32) / 32768, int(rate)


class Synthesizer:
    """espeak-ng in this process."""

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = Path(espeakng_loader.get_data_path())
        self.variants = {path.name for path in (data / "voices" / "!v").iterdir()}
        self.rate = self.library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), 0)
        if self.rate <= 0:
            raise RuntimeError(f"espeak_Initialize failed ({self.rate})")
        self.pieces: list[np.ndarray] = []
        self.callback = CALLBACK(self.collect)  # kept: the library holds only a pointer
        self.library.espeak_SetSynthCallback(self.callback)

    def collect(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on

    def speak(self, text: str, voice: Voice) -> np.ndarray:
        """Samples (N,) int16 of one sentence."""
        self.pieces = []
        _, plus, variant = voice.name.partition("+")
        # espeak-ng speaks an unknown variant as the plain voice without a word: two "speakers" would be one.
        unknown = plus and variant not in self.variants
        if unknown or self.library.espeak_SetVoiceByName(voice.name.encode()):
            raise RuntimeError(f"no voice {voice.name!r}")
        self.library.espeak_SetParameter(PARAMETER_RATE, voice.rate, 0)
        self.library.espeak_SetParameter(PARAMETER_PITCH, voice.pitch, 0)
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, CHARS_UTF8, None, None)
        self.library.espeak_Synchronize()
        if not self.pieces:
            raise RuntimeError("no samples came")
        return np.concatenate(self.pieces)


def main() -> None:
    """The child: JSON lines of text and voice in, (int32 length, int32 rate, int16 samples) out."""
    synthesizer = Synthesizer()
    for line in sys.stdin:
        request = json.loads(line)
        samples = synthesizer.speak(request.pop("text"), Voice(**request))
        sys.stdout.buffer.write(np.array([len(samples), synthesizer.rate], np.int32).tobytes() + samples.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
