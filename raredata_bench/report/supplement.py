"""The supplement of a paper: all that a study says, as one LaTeX file, and the PDF that pdflatex makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raredata_bench.bench.record import JobRecord, write_atomic
from raredata_bench.report.card.values import Card
from raredata_bench.report.figures.write import CAPTIONS
from raredata_bench.report.figures.write import FOLDER as FIGURES
from raredata_bench.report.site.components import components, study_facts
from raredata_bench.report.site.words import limits
from raredata_bench.report.supplement_parts import (
    cards_table,
    commands,
    datasets_table,
    fingerprints,
    learners_table,
    machines,
    methods_table,
    protocol,
    versions_table,
)
from raredata_bench.report.tables_content import Content, stamp_of
from raredata_bench.report.tables_formats import Printed, breakable, latex_escape, to_latex

NAME = "supplement"
COMPILER = "pdflatex"
# Until page numbers and widths of columns settle; each run may take so many seconds.
RUNS, RUN_S = 5, 180
# Where the tables of results stand.
SECTIONS = {
    "Gains over none": ("leaderboard",), "Over datasets": ("across", "tests", "mixed"),
    "Worth in real patients": ("patients",), "Figures": (), "Synthetic rows": ("synthetic",),
    "Fairness": ("fairness",), "Failures and coverage": ("failures", "coverage"), "Every scorer": ("leaderboard_all",),
}  # fmt: skip
PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\pdfinfoomitdate=1
\pdftrailerid{}
\pdfsuppressptexinfo=-1
\pdfminorversion=7
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern,textcomp}
\usepackage[margin=22mm]{geometry}
\usepackage{booktabs,longtable,array,pdflscape,graphicx}
\usepackage[hidelinks,pdfcreator={},pdfproducer={}]{hyperref}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt plus 1pt}
\setlength{\LTcapwidth}{\linewidth}
\setlength{\emergencystretch}{3em}
\raggedbottom
\renewcommand{\thetable}{S\arabic{table}}
\renewcommand{\thefigure}{S\arabic{figure}}
\makeatletter
\long\def\@makecaption#1#2{\vskip\abovecaptionskip{\footnotesize\raggedright #1. #2\par}\vskip\belowcaptionskip}
\newcommand{\drawn}[2]{\par\addvspace{8pt}\begin{minipage}{\linewidth}\def\@captype{figure}\centering
\sbox0{\includegraphics{#1}}%
\ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi
\ifdim\dimexpr\ht0+\dp0\relax>.7\textheight\sbox0{\resizebox{!}{.7\textheight}{\usebox0}}\fi
\usebox0\caption{#2}\end{minipage}\par}
\makeatother
"""


@dataclass(frozen=True, eq=False)
class Told:
    """What a supplement is made of.

    Parameters
    ----------
    study : str
    content : Content
        With statistics, where there are any.
    tables : sequence of Printed
        What :func:`raredata_bench.report.tables.write_tables` returned.
    records : sequence of JobRecord
    cards : sequence of mapping
    """

    study: str
    content: Content
    tables: Sequence[Printed]
    records: Sequence[JobRecord]
    cards: Sequence[Card]


def write_supplement(told: Told, folder: Path) -> Path:
    """Write ``supplement.tex`` into ``folder`` and return its path; it takes the PDF figures that lie beside it."""
    path = folder / f"{NAME}.tex"
    write_atomic(path, document(told, figures_beside(folder)))
    return path


def figures_beside(folder: Path) -> list[dict[str, Any]]:
    """Return what the figures of an earlier step say of themselves; empty where there are none."""
    try:
        found = json.loads((folder / FIGURES / CAPTIONS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return list(found)


def document(told: Told, figures: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a whole LaTeX document; the same for the same study."""
    table = told.content.table
    facts = study_facts(told.study)
    names = dict(zip(table["job"], table["dataset"], strict=True)) if len(table) else {}
    known = components(told.records, names)
    title = f"Supplement: {facts.get('label') or told.study}"
    question = str(facts.get("question") or "")
    parts = [
        f"% {stamp_of(table)}", PREAMBLE + rf"\hypersetup{{pdftitle={{{latex_escape(title)}}}}}", r"\begin{document}",
        rf"{{\LARGE\bfseries {latex_escape(title)}\par}}",
        *([rf"{{\large\itshape {breakable(question)}\par}}"] if question else []),
        rf"{{\footnotesize {breakable(stamp_of(table))}\par}}",
        r"\tableofcontents", *_what_was_run(told, names, known), *_cannot_say(told), *_results(told, figures),
        *_cards(told), *_again(told, names), r"\end{document}",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _section(title: str) -> str:
    return rf"\section{{{latex_escape(title)}}}"


def _what_was_run(told: Told, names: Mapping[str, str], known: Mapping[str, Any]) -> Iterator[str]:
    yield _section("What was run")
    for sentence in protocol(told.records, known):
        yield breakable(sentence) + r"\par"
    for table in (datasets_table(told.records, names, known), methods_table(known), learners_table(known)):
        if table:
            yield to_latex(table)


def _cannot_say(told: Told) -> Iterator[str]:
    yield _section("What this study cannot say")
    content = told.content
    yield from _list(limits(content.table, content.board, len(content.table.attrs.get("broken", []))))
    notes = () if content.found is None else content.found.notes
    if notes:
        yield r"\subsection*{Notes on the statistics}"
        yield from _list(together(notes))


def together(notes: Sequence[str]) -> list[str]:
    """Return sentences in their order; those that say the same of several places, before a colon, as one."""
    places: dict[str, list[str]] = {}
    for note in notes:
        place, colon, said = note.partition(": ")
        # What says the same of different things stands behind the colon; a sentence without one stays itself.
        places.setdefault(said if colon else note, []).append(place if colon else "")
    return [f"{'; '.join(where)}: {said}" if where != [""] else said for said, where in places.items()]


def _list(sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield r"\begin{itemize}\setlength{\itemsep}{0pt}"
        yield from (r"\item{} " + breakable(sentence) for sentence in sentences)
        yield r"\end{itemize}"


def _results(told: Told, figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for title, keys in SECTIONS.items():
        heading = _section(title)
        if title == "Figures":
            yield from _figures(figures)
            continue
        # Of one axis each, with the name of the axis behind.
        held = [one for key in keys for one in told.tables if one.key == key or one.key.startswith(f"{key}_")]
        for place, table in enumerate(one for one in held if one.key != "leaderboard_all" or title == "Every scorer"):
            yield to_latex(table, heading="" if place else heading)


def _figures(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not entries:
        return
    yield _section("Figures")
    for entry in entries:
        pages = [name for name in entry["files"] if str(name).endswith(".pdf")]
        for name in pages:
            text = rf"\textbf{{{latex_escape(str(entry['title']))}.}} {breakable(str(entry['caption']))}"
            yield rf"\drawn{{{FIGURES}/{name}}}{{{text}}}"
    lacking = [f"{entry['title']}: {entry['reason']}" for entry in entries if not entry["files"]]
    if lacking:
        yield r"\subsection*{Figures that were not drawn}"
        yield from _list(lacking)


def _cards(told: Told) -> Iterator[str]:
    if told.cards:
        yield to_latex(cards_table(told.cards), heading=_section("Reporting cards"))


def _again(told: Told, names: Mapping[str, str]) -> Iterator[str]:
    yield _section("Reproducibility")
    attrs = told.content.table.attrs
    yield breakable(machines(told.records)) + r"\par"
    revisions = ", ".join(str(one) for one in attrs.get("git") or []) or "not recorded"
    yield breakable(f"Code revision: {revisions}. A plus sign: with changes that were not committed.") + r"\par"
    yield (
        breakable(
            f"Configurations: {attrs.get('config') or 'not recorded'}, the first digits of the SHA-256 of the resolved "
            "configurations of all records. A seed is a hash of what it may depend on, and the same everywhere."
        )
        + r"\par"
    )
    yield breakable(fingerprints(told.records, names)) + r"\par"
    yield r"Command lines:\par"
    yield from (rf"{{\ttfamily {breakable(line)}\par}}" for line in commands(told.study))
    if table := versions_table(told.records):
        yield to_latex(table)


# ------------------------------------------------------------------------------------------------------------ the PDF


def compile_pdf(tex: Path) -> tuple[Path | None, str]:
    """Compile a LaTeX file beside itself and return the PDF, or none and the sentence that says why.

    The file is compiled until its page numbers settle, at most :data:`RUNS` times, without leave to start programs. The
    PDF holds no date and no path: the same file gives the same bytes on the same distribution.
    """
    program = shutil.which(COMPILER)
    pdf = tex.with_suffix(".pdf")
    if program is None:
        pdf.unlink(missing_ok=True)
        return None, (
            f"No {pdf.name}: {COMPILER} is not installed. {tex.name} is there; install a TeX distribution (on Debian "
            f"texlive-latex-recommended, texlive-fonts-recommended and lmodern) and run this again."
        )
    with tempfile.TemporaryDirectory(prefix="raredata-bench-") as scratch:
        said = _runs(program, tex, Path(scratch))
        made = Path(scratch) / pdf.name
        if said or not made.is_file():
            pdf.unlink(missing_ok=True)
            return None, f"No {pdf.name}: {said or 'no page came out'}. {tex.name} is there, to be looked at."
        write_atomic(pdf, made.read_bytes())
    return pdf, ""


def _runs(program: str, tex: Path, scratch: Path) -> str:
    """Run the compiler until its notes no longer change; return what went wrong, empty for nothing."""
    command = [
        program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"-output-directory={scratch}",
        tex.name,
    ]  # fmt: skip
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    before = b""
    for _ in range(RUNS):
        try:
            done = subprocess.run(
                command, cwd=tex.parent, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=RUN_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{COMPILER} took more than {RUN_S} s"
        if done.returncode:
            return first_error(scratch / f"{tex.stem}.log")
        notes = b"".join(
            path.read_bytes() for path in (scratch / f"{tex.stem}.{ending}" for ending in ("aux", "toc", "out"))
            if path.is_file()
        )  # fmt: skip
        if notes == before:
            return ""
        before = notes
    return ""


def first_error(log: Path) -> str:
    """Return the first error of a log with the line it is in."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return f"{COMPILER} left no log"
    for place, line in enumerate(lines):
        if line.startswith("!"):
            where = next((one for one in lines[place:] if one.startswith("l.")), "")
            return f"{COMPILER} says {line[1:].strip()!r}" + (f" at {where.strip()!r}" if where else "")
    return f"{COMPILER} failed without an error in its log"
