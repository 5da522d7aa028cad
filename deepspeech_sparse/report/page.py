"""The page: words, figures and tables in one file that needs no network, for a phone, a screen and paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..errors import InputError
from ..files import refuse_unwritable, write_whole
from ..results import TEST_TABLE, Result, failures, read_results
from .contrasts import contrasts_table
from .drawing import Picture, printable
from .gradients import gradient_tables
from .layers import layer_pictures
from .pairs import pairs_of
from .paper import paper_table
from .plots import series_looks, wer_pictures
from .points import measured, points_of
from .sensitivity import Star, star_table, stars_of
from .sensitivity_plot import star_picture
from .sensitivity_words import star_paragraphs
from .tables import Table, failures_table, models_table, pairs_table, provenance_table, waiting_table
from .tested import tested_points, tested_table, tested_words
from .training import training_picture
from .words import findings

TITLE = "Word error rate against sparsity"


@dataclass(frozen=True)
class Section:
    """Figures and tables that belong together, under a heading and what is to be said of them."""

    title: str
    paragraphs: tuple[str, ...]
    parts: tuple[Picture | Table, ...]


CSS = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 46rem; padding: 1rem; background: #fff; color: #111;
  font: 1.0625rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
h1, h2, h3, p, figcaption, .note { overflow-wrap: anywhere; }
figure { margin: 0 0 1.5rem; break-inside: avoid; }
figure svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
figcaption, .note { font-size: 1rem; color: #333; }
.table { overflow: auto; max-height: 80vh; border: 1px solid #bbb; border-width: 1px 0; }
table { border-collapse: separate; border-spacing: 0; width: max-content; min-width: 100%; font-size: 1rem; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #555; vertical-align: bottom; max-width: 7rem;
  position: sticky; top: 0; background: #fff; z-index: 1; }
tbody tr + tr > * { border-top: 1px solid #ddd; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
thead th.number { white-space: normal; }
th[scope=row] { font-weight: 600; position: sticky; left: 0; background: #fff; max-width: 10rem; }
td { max-width: 22rem; } td, th[scope=row] { overflow-wrap: break-word; }
@media print {
  @page { margin: 15mm; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; } thead { display: table-header-group; }
  .table { overflow: visible; max-height: none; } table { font-size: 7pt; width: 100%; } th, td { padding: 1mm; }
  th[scope] { position: static; } td, th { max-width: none; }
  section section { break-inside: avoid; }
  figure svg { max-width: 9.2cm; } figcaption, .note { font-size: 9pt; }
}
""".strip()


def report(results: Path, out: Path) -> Path:
    """One page of what a study found, with its figures (.svg, .png) and tables (.csv) beside it.

    Args:
        results: the folder of a study, with its results.csv and maybe test.csv, or a results.csv alone
        out: folder for report.html and the rest

    Returns:
        the page

    Raises:
        InputError: no such table, no run in it that is done, or no place to write
    """
    rows = read_results(results)
    refuse_nothing_measured(rows, str(results))
    beside = Path(results) / TEST_TABLE
    tests = read_results(beside) if beside.exists() else []
    return write_report(rows, out, title=TITLE, tests=tests)


def sensitivity(star: Star) -> Section:
    """In words, then the figure, if any run says how sparse it is, and the table."""
    drawn = [star_picture(star)] if "pruned_sparsity" in star.measures else []
    return Section(star.title, star_paragraphs(star), (*drawn, star_table(star)))


def write_report(
    results: Sequence[Result],
    out: Path,
    *,
    title: str = TITLE,
    tests: Sequence[Result] = (),
    tables: Sequence[Table] = (),
) -> Path:
    """The same from rows, of the test set too if there are, with more `tables` at the end; equal rows, equal bytes."""
    page = Path(out) / "report.html"
    refuse_nothing_measured(results, title)
    refuse_unwritable(page)
    done = measured(results)
    waiting = [result for result in results if result.waiting]
    missing = [result for result in results if result not in done and not result.waiting]
    points = points_of(done)
    baseline = next((result for result in done if result.method == "dense"), None)

    pictures, absent = wer_pictures(points)
    layers = layer_pictures(points)
    training = training_picture(points, series_looks(points))
    absent += [] if layers else ["No figure of sparsity by layer: the table has no parts of a sparse model."]
    absent += [] if training else ["No figure of the trainings: the table has no history."]
    sections = [sensitivity(star) for star in stars_of(done)]
    varied = [point.varied for point in points if not point.dense]
    if layers and any(varied) and not all(varied):
        absent.append(
            f"Sparsity by layer of {sum(varied)} models with varied settings is not shown, only of the others."
        )
    parts = [*pictures, *sections, *layers, *([training] if training else [])]

    pairs = pairs_of(done, baseline or done[0])
    parts.append(models_table(done, baseline))
    if pairs:
        parts.append(pairs_table(pairs, done))
    else:
        absent.append("No test of the differences: no two runs say where their errors are on the same utterances.")
    tested = tested_points(points, measured(tests))
    of_means = (tested_table(tested) if tested else None, paper_table(points), contrasts_table(points, tested))
    parts += [*(table for table in of_means if table is not None), *gradient_tables(points)]
    parts.append(provenance_table(done))
    if missing:
        parts.append(failures_table(missing))
    if waiting:
        parts.append(waiting_table(waiting))
    parts += tables
    for part in [*parts, *(part for section in sections for part in section.parts)]:
        if isinstance(part, Picture):
            write_whole(page.with_name(f"{part.name}.svg"), part.svg)
            write_whole(page.with_name(f"{part.name}.png"), part.png)
        elif isinstance(part, Table):
            write_whole(page.with_name(f"{part.name}.csv"), part.csv())
    text = html(title, findings(points, missing, waiting, tested_words(tested)), parts, absent)
    write_whole(page, text.encode("utf-8", "replace"))
    return page


def refuse_nothing_measured(results: Sequence[Result], source: str) -> None:
    """InputError when there is nothing to draw."""
    if not measured(results):
        failed = len(failures(results))
        raise InputError(
            f"{source}: none of {len(results)} runs has a word error rate ({failed} failed); nothing to show"
        )


def html(
    title: str, paragraphs: Sequence[str], parts: Sequence[Picture | Table | Section], absent: Sequence[str]
) -> str:
    """The page around its parts. Every text is escaped: a table may come from a stranger."""
    elements = [f"<h1>{inert(title)}</h1>", *(f"<p>{prose(text)}</p>" for text in paragraphs), *map(element, parts)]
    if absent:
        elements += ["<h2>What is missing</h2>", "<ul>", *(f"<li>{prose(text)}</li>" for text in absent), "</ul>"]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{inert(title)}</title><style>{CSS}</style>"
    )
    body = "\n".join(elements)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def prose(text: str) -> str:
    """Inert text, and no line break between a number and its per cent sign."""
    return inert(text).replace(" %", "\u00a0%")


def inert(text: str) -> str:
    """Text that shows itself and does nothing else."""
    return escape(printable(text))


def element(part: Picture | Table | Section, heading: str = "h2") -> str:
    """A part of the page; headings within a section are one level lower."""
    if isinstance(part, Picture):
        return figure(part, heading)
    if isinstance(part, Table):
        return table_box(part, heading)
    inside = [f"<p>{prose(text)}</p>" for text in part.paragraphs] + [element(each, "h3") for each in part.parts]
    return "\n".join([f"<section><h2>{inert(part.title)}</h2>", *inside, "</section>"])


def figure(picture: Picture, heading: str = "h2") -> str:
    files = f"Files: {picture.name}.svg, {picture.name}.png."
    return (
        f"<figure><{heading}>{inert(picture.title)}</{heading}>\n{picture.inline}\n"
        f"<figcaption>{prose(picture.caption)} {prose(files)}</figcaption></figure>"
    )


def table_box(table: Table, heading: str = "h2") -> str:
    """A table that scrolls sideways in a box of its own; the first cell of a row is its head."""
    classes = [' class="number"' if column.show and column.number else "" for column in table.columns]
    head = "".join(f'<th scope="col"{kind}>{inert(c.title)}</th>' for kind, c in zip(classes, table.columns))
    rows = []
    for row in table.rows:
        texts = [inert(column.text(value)) for column, value in zip(table.columns, row)]
        cells = "".join(f"<td{kind}>{text}</td>" for kind, text in zip(classes[1:], texts[1:]))
        rows.append(f'<tr><th scope="row">{texts[0]}</th>{cells}</tr>')
    return (
        f"<section><{heading}>{inert(table.title)}</{heading}>\n"
        f'<div class="table" role="region" tabindex="0" aria-label="{inert(table.title)}">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>\n"
        f'<p class="note">{prose(table.note)} File: {prose(table.name)}.csv.</p></section>'
    )
