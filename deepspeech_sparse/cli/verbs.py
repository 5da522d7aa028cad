"""One function per verb: its signature is the usage, its docstring the help, see `parser.py`.

Work is done elsewhere; a verb calls it and prints. Heavy modules are imported inside the verbs: --help is quick.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..decoder_config import DecoderConfig
from .errors import UsageError
from .text_argument import given_text


def data_prepare(
    corpus: Literal["an4", "librispeech", "fsdd", "digits", "spoken", "folder"],
    *,
    out: Path | None = None,
    archive: Path | None = None,
    subsets: list[str] | None = None,
    table: Path | None = None,
) -> None:
    """Turn a speech corpus into manifests train.jsonl, dev.jsonl and test.jsonl.

    Args:
        corpus: an4, librispeech, fsdd, digits (strings of those of fsdd), spoken (synthesised, needs the extra `demo`),
            or folder for your own recordings
        out: folder for manifests and audio, by default data/CORPUS
        archive: tar, zip or folder of the corpus; without it the corpus is downloaded where it has a public address.
            For `folder`: a folder of audio with one CSV, TSV or JSONL table of audio paths and texts
        subsets: librispeech only: [train-clean-100, dev-clean, ...]; by default all that the archive holds
        table: folder only: the table, if it does not lie at the top of the folder
    """
    from ..corpora.prepare import prepare

    for split, manifest in prepare(corpus, out=out, archive=archive, subsets=subsets, table=table).items():
        print(f"{split}: {manifest}")


def data_check(manifest: Path, *, config: Path | None = None) -> int:
    """Look for everything in a manifest that would spoil a training; exit code 1 if training would fail.

    Args:
        manifest: JSON lines with audio_filepath, duration, text
        config: a recipe; its alphabet and frame strides then decide which utterances are too short for their text, and
            audio is decoded at its sample rate
    """
    from rich.console import Console

    from ..corpora.check import check_manifest
    from ..text import Alphabet

    options = {"alphabet": Alphabet()}
    if config is not None:
        from ..config import load_config
        from ..runs import speech_recognition

        run = load_config(config)
        options = {
            "alphabet": Alphabet(run.alphabet),
            "frames": speech_recognition(run).output_frames,
            "sample_rate": run.features.sample_rate,
        }
    report = check_manifest(manifest, **options)
    report.print(Console())
    return 1 if report.fatal else 0


def train(config, *, out: Path, resume: Literal["auto", "never"] | Path = "never") -> int:
    """Train a recognizer, dense or gradually pruned; Ctrl-C saves the state and stops.

    Args:
        config: YAML file; every value can also be given as a flag, e.g. --network.hidden 512
        out: run folder: config.yaml, checkpoints/, metrics.csv, TensorBoard events
        resume: auto continues the run in `out` bit-exactly or starts it; a path continues from that checkpoint;
            never refuses a folder that already holds a run
    """
    from ..callbacks import TrainingStopped
    from ..runs import train as train_run

    try:
        folder = train_run(config, out, resume=False if resume == "never" else resume)
    except TrainingStopped as stop:
        print(f"{stop}; continue with --resume auto", file=sys.stderr)
        return 130
    print(f"trained: {folder}")
    return 0


def evaluate(
    model: Path,
    manifest: Path,
    *,
    json: Path | None = None,
    worst: int = 5,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
) -> None:
    """Word and character error rate of a model on a manifest, with a 95 % bootstrap interval over utterances.

    Args:
        model: run folder, checkpoint or exported .safetensors file
        manifest: JSON lines with audio_filepath, duration, text
        json: also write the result here
        worst: utterances with most errors to show aligned
        engine: native, the sparse engine, or torch with all zeros; both give the same texts. Conformer and Wav2Letter
            always run in torch
        threads: how many work at the same time, 1 to 1024; by default one per core, or what OMP_NUM_THREADS says
        decoder: a recipe whose `decoder` section says how texts are found; greedy without one
    """
    from rich.console import Console

    from ..evaluation import evaluate as evaluate_model

    evaluation = evaluate_model(model, manifest, json=json, engine=engine, threads=threads, decoder=decoder)
    evaluation.print(Console(), worst=worst)


def compare(
    dense: Path,
    sparse: list[Path],
    *,
    manifest: Path,
    json: Path | None = None,
    report: Path | None = None,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
    rounds: int = 5,
) -> None:
    """Compare sparse models with a dense one: errors, significance, speed, memory, non-zeros per layer, bytes on disk.

    Args:
        dense: the model that the others are held against: run folder, checkpoint or .safetensors file
        sparse: one or more other models
        manifest: JSON lines with audio_filepath, duration, text
        json: also write the result here
        report: also write figures and tables into this folder, as one self-contained page, report.html
        engine: native, the sparse engine, or torch with all zeros; both give the same texts. Speed is measured in torch
            in any case
        threads: how many work at the same time, 1 to 1024; by default one per core, or what OMP_NUM_THREADS says
        rounds: in which all models take turns to show their speed; 0 measures neither speed nor memory
        decoder: a recipe whose `decoder` section says how texts are found; greedy without one
    """
    from rich.console import Console

    from ..comparison import compare as compare_models

    comparison = compare_models(
        dense,
        sparse,
        manifest,
        json=json,
        report=report,
        engine=engine,
        threads=threads,
        decoder=decoder,
        rounds=rounds,
    )
    comparison.print(Console())


def study(*, config: Path, out: Path, jobs: int = 1, earlier: Path | None = None) -> int:
    """Train and evaluate a grid of configs; what is done is skipped. Exit code 1 if any training failed.

    Args:
        config: YAML file with base, evaluate, maybe test, and grids, e.g. recipes/an4/study.yaml
        out: folder of the study: a run folder per training, results.csv and, of the test set, test.csv
        jobs: trainings at the same time; each gets its share of the CPU's cores
        earlier: folder with results.csv (and test.csv) of this study as run elsewhere; what is in them is not trained
    """
    from ..results import failures
    from ..study.watch import run_study

    results = run_study(config, out, jobs=jobs, earlier=earlier)
    failed = len(failures(results))
    print(f"{out / 'results.csv'}: {len(results)} rows, {failed} failed")
    return 1 if failed else 0


def report(results: Path, *, out: Path) -> None:
    """Draw a table of results: WER against sparsity, size and layers, significance, in one self-contained page.

    Args:
        results: the folder of a study, with its results.csv and maybe test.csv, or a results.csv alone
        out: folder for report.html, figures (SVG, PNG) and tables (CSV)
    """
    from ..report import report as write

    print(write(results, out))


def forecast(
    config,
    *,
    dense: Path | None = None,
    warm_up: int = 0,
    target_sparsity: float | None = None,
    results: Path | None = None,
    reached: list[Path] | None = None,
    json: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Say what the pruning of a recipe will do before training it: sparsity over time, size and work per layer.

    Args:
        config: YAML file; every value can also be given as a flag, e.g. --pruning.recurrent.q 0.1
        dense: trained dense model of the same network that tells how weights grow; by default the recipe's own
            `dense`. Without one, the initial weights stand for the trained ones
        warm_up: or train so many steps without pruning, and extrapolate
        target_sparsity: find the hyper-parameters that reach it, e.g. 0.9
        results: a study's results.csv: also predict the WER, if enough of its runs are of this kind
        reached: finished runs of this recipe to hold the forecast against, e.g. [runs/a, runs/b]
        json: also write the result here
        plot: also draw zeros and thresholds over the training, as .svg or .png
    """
    from rich.console import Console

    from ..forecast import forecast as forecast_pruning

    forecast_pruning(
        config,
        dense=dense,
        warm_up=warm_up,
        target_sparsity=target_sparsity,
        results=results,
        reached=tuple(reached or ()),
        json=json,
        plot=plot,
    ).print(Console())


def transcribe(
    model: Path,
    files: list[Path] = (),
    *,
    format: Literal["txt", "srt", "vtt", "tsv", "json", "all"] = "txt",
    out: Path | None = None,
    skip_existing: bool = False,
    allow_urls: bool = False,
    pcm: int | None = None,
    microphone: bool = False,
    device: int | None = None,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
) -> int:
    """Write what is said in audio files, or live, to stdout or into a folder; exit code 1 if any file was no audio.

    Args:
        model: .safetensors file, run folder or checkpoint
        files: audio files of any format, rate, channel count and length; folders, searched to the bottom; globs such as
            "calls/**/*.wav"; manifests (.jsonl), their offsets and durations honoured; - for encoded audio on stdin
        format: txt, one line per file; srt or vtt, subtitles; tsv, segments with start and end in ms; json, one object
            per line, with times and confidence of words; all, a file of each
        out: write NAME.FORMAT into this folder, without the suffix of the audio file; inputs that would share a name
            keep their suffix, and folders that tell them apart; this looks at the inputs of one call only
        skip_existing: leave out recordings whose results are all in the folder of --out
        allow_urls: also fetch http:// and https:// addresses among the files, at most 4 GiB each
        pcm: with - for the file: stdin holds raw samples, signed 16 bit little-endian mono at this rate in Hz, and what
            is said is written while they come; needs a model in one direction, e.g. an4-streaming-sparse
        microphone: in place of files: listen, write what is said until Ctrl-C; needs such a model, too
        device: number of the microphone as `python -m sounddevice` lists them; the system's own by default
        engine: native, the sparse engine, or torch with all zeros; both give the same texts. Conformer and Wav2Letter
            always run in torch
        threads: how many work at the same time, 1 to 1024; by default one per core, or what OMP_NUM_THREADS says
        decoder: a recipe whose `decoder` section says how texts are found; greedy without one
    """
    if device is not None and not microphone:
        raise UsageError("transcribe: --device is for --microphone")
    if microphone or pcm is not None:
        if microphone and (files or pcm is not None):
            raise UsageError("transcribe: --microphone goes without files and --pcm")
        if pcm is not None and list(map(str, files)) != ["-"]:
            raise UsageError("transcribe: --pcm is for samples on stdin: give - for the file")
        if format != "txt" or out is not None or skip_existing or allow_urls or decoder != DecoderConfig():
            raise UsageError("transcribe: live text is greedy and goes to stdout; leave --format, --out, --decoder out")
        from ..live import transcribe_microphone, transcribe_pcm

        if microphone:
            return transcribe_microphone(model, device, engine=engine, threads=threads)
        return transcribe_pcm(model, pcm, engine=engine, threads=threads)
    from ..transcription import transcribe_files

    return transcribe_files(
        model,
        files,
        format=format,
        out=out,
        skip_existing=skip_existing,
        allow_urls=allow_urls,
        engine=engine,
        threads=threads,
        decoder=decoder,
    )


def align(
    model: Path,
    audio: Path,
    text: str,
    *,
    format: Literal["words", "txt", "srt", "vtt", "tsv", "json"] = "words",
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
) -> None:
    """Tell when each word of a known text is said in a recording, and how sure that is.

    Args:
        model: .safetensors file, run folder or checkpoint
        audio: audio file of some minutes at most
        text: what is said; or, if it ends in .txt, the path of a file that holds it
        format: words, a line for each with start and end in s and confidence; the others as of transcribe
        engine: native, the sparse engine, or torch with all zeros; both give the same times. Conformer and Wav2Letter
            always run in torch
        threads: how many work at the same time, 1 to 1024; by default one per core, or what OMP_NUM_THREADS says
    """
    from ..recognizer import Recognizer
    from ..writers import rendered

    transcript = Recognizer.load(model, engine=engine, threads=threads).align(audio, given_text(text))
    if format != "words":
        print(rendered(transcript, format), end="")
        return
    print("   start      end  confidence  word")
    for word in transcript.words:
        print(f"{word.start:8.2f} {word.end:8.2f}  {word.confidence:10.2f}  {word.text}")


def lm_build(
    texts: list[Path],
    *,
    out: Path,
    order: int = 3,
    units: Literal["words", "characters"] = "words",
    prune: list[int] | None = None,
    lexicon: Path | None = None,
    priors: Path | None = None,
    alphabet: str = " 'abcdefghijklmnopqrstuvwxyz",
) -> None:
    """Build a language model from text by modified Kneser-Ney smoothing, as an ARPA file for beam search.

    Args:
        texts: text files, one sentence in a line, .gz too, or manifests (.jsonl); texts are put in lower case
        out: the ARPA file, which KenLM reads, too
        order: longest n-gram, 2 to 6
        units: what is predicted: words for beam search with a lexicon, characters for beam search without
        prune: n-grams that occur so often or less are left out, a number for each order, e.g. [0, 0, 1]
        lexicon: also write the list of words that beam search may write
        priors: also write how often each label of a network occurs, for --decoder.priors
        alphabet: symbols that the network writes; words with others stay out of the lexicon
    """
    from ..language_model import build_language_model
    from ..text import Alphabet

    print(
        build_language_model(
            texts,
            out=out,
            order=order,
            units=units,
            prune=prune or (),
            lexicon=lexicon,
            priors=priors,
            alphabet=Alphabet(alphabet),
        )
    )


def lm_tune(
    model: Path,
    manifest: Path,
    *,
    decoder: DecoderConfig = DecoderConfig(),
    out: Path = Path("tuning"),
    recipe: Path | None = None,
    alphas: list[float] | None = None,
    betas: list[float] | None = None,
    gammas: list[float] | None = None,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
) -> None:
    """Find the weights of language model (alpha), words (beta), priors (gamma) on a dev set; write them into a recipe.

    Args:
        model: run folder, checkpoint or exported .safetensors file
        manifest: JSON lines with audio_filepath, duration, text; a dev set, results are reported on another
        decoder: its language model and lexicon, e.g. --decoder.lm lm.arpa --decoder.lexicon words.txt; or a recipe
        out: folder for what the network says, which is computed once, for every search done, and for the figure
        recipe: YAML file whose `decoder` section becomes the winner; without one it is printed
        alphas: tried first, e.g. [0, 0.5, 1]; then steps half as wide around the best
        betas: likewise
        gammas: parts of the label priors, by default 0, 0.2, 0.4 and 0.6 with --decoder.priors, else 0 alone
        engine: native, the sparse engine, or torch with all zeros; both give the same texts
        threads: how many work at the same time, 1 to 1024; by default one per core, or what OMP_NUM_THREADS says
    """
    from rich.console import Console

    from ..tuning import tune as tune_decoder
    from ..tuning.recipe import decoder_section
    from ..tuning.search import ALPHAS, BETAS

    tuning = tune_decoder(
        model,
        manifest,
        decoder=decoder,
        out=out,
        recipe=recipe,
        alphas=alphas or ALPHAS,
        betas=betas or BETAS,
        gammas=gammas,
        engine=engine,
        threads=threads,
    )
    tuning.print(Console())
    print(decoder_section(tuning.decoder), end="")


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
    from ..export import export as export_model

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
        from ..export import info as model_info
        from ..in_memory import packed_weights, print_packed

        model_info(model).print(console)
        print_packed(packed_weights(model), console)
    if runtime:
        from ..machine import machine

        console.print(str(machine()), highlight=False, markup=False, soft_wrap=True)


def bench(
    *,
    parts: list[Literal["products", "layers", "recognition", "gradients"]] | None = None,
    full: bool = False,
    threads: int = 1,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Measure sparse against dense on this machine: products, layers, recognition, training gradients; about 4 minutes.

    Args:
        parts: some of products, layers, recognition and gradients, e.g. [layers]; all by default
        full: the figures to publish, more rounds, steps and seconds: a quarter of an hour on an idle machine
        threads: of everything that is measured
        seed: of weights and inputs
        json: also write the figures here, with machine, date, versions and seed
    """
    from ..bench import PARTS
    from ..bench import bench as measure

    measure(tuple(parts or PARTS), full=full, threads=threads, seed=seed, json=json)


def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Watch a recognizer learn synthesised speech, dense and 90 % sparse, and compare the two; under 6 minutes.

    Args:
        out: folder for the corpus, both runs and their model files; started anew each time
        seed: of the corpus and of both trainings
    """
    from ..demo import run_demo

    run_demo(out, seed=seed)


VERBS: dict[str, Callable] = {
    "data prepare": data_prepare,
    "data check": data_check,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "forecast": forecast,
    "study": study,
    "report": report,
    "transcribe": transcribe,
    "align": align,
    "lm build": lm_build,
    "lm tune": lm_tune,
    "export": export,
    "info": info,
    "bench": bench,
    "demo": demo,
}
