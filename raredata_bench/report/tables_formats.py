"""A table as it is printed, and its formats: LaTeX, Markdown, HTML; and frames as CSV.

The first line of every file says what it was made from, as a comment that programs skip.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape

import pandas as pd

from raredata_bench.report.text import NOTHING

# The size of a page of A4 with margins of 22 mm, upright and turned.
UPRIGHT_MM, TURNED_MM = 166.0, 253.0
# By size of letters: how wide one is on average, and the gap between two columns.
SIZES = {"footnotesize": (1.5, 2.8), "scriptsize": (1.4, 2.1)}
# How much of what texts that wrap could give is taken before the page is turned; how wide a line across a table is.
SHRINK, SPAN = 0.9, 0.82
# Blocks of at most so many rows are not divided between pages.
WHOLE_ROWS = 24
NEEDS = r"% Needs \usepackage[T1]{fontenc} and \usepackage{textcomp,booktabs,longtable,array,pdflscape}."
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "−": "$-$", "–": "--", "—": "---", "±": r"$\pm$",
    "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$", "∞": r"$\infty$", "²": r"$^2$",
    "³": r"$^3$", "µ": r"$\mu$", "<": r"$<$", ">": r"$>$", "|": r"\textbar{}", "[": "{[}", "]": "{]}",
    '"': r"\textquotedbl{}", "'": "'", "’": "'", "‘": "`", "“": "``", "”": "''", "…": r"\dots{}", "→": r"$\to$",
    "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "▲": r"$\uparrow$", "▼": r"$\downarrow$", "°": r"\textdegree{}",
    "\u00a0": "~", "\u202f": r"\,", "\u2009": r"\,",
    **{letter: rf"$\{name}$" for letter, name in zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", (
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi"
        " chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega").split(), strict=True)},
}  # fmt: skip
STYLE = """
:root { color-scheme: light dark; }
body { margin: 1.5rem; font: 15px/1.45 system-ui, sans-serif; }
main { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; border-bottom: 1.5px solid; }
caption { text-align: left; max-width: 62rem; padding-bottom: .6rem; }
th, td { padding: .12rem .7rem .12rem 0; text-align: right; vertical-align: top; }
thead th { border-top: 1.5px solid; border-bottom: 1px solid; vertical-align: bottom; }
.t { text-align: left; } tbody th { text-align: left; padding-top: .6rem; } .n { text-align: left; font-style: italic; }
"""


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table; ``bold`` sets it off."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    title : str
    right : bool
        Whether it holds numbers, and is set to the right.
    wrap : int
        Letters after which a text goes on in a new line; 0 for never.
    fixed : bool
        Whether it stays where every row says the same.
    """

    title: str
    right: bool = True
    wrap: int = 0
    fixed: bool = False


@dataclass(frozen=True)
class Block:
    """Rows below a heading of their own, which may be empty; ``note`` is a line below them."""

    title: str
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Printed:
    """A table for people.

    Parameters
    ----------
    key : str
        Name of its files, and its label in LaTeX.
    title, caption : str
        What it is; how it is to be read.
    columns : sequence of Column
    blocks : sequence of Block
    """

    key: str
    title: str
    caption: str
    columns: Sequence[Column]
    blocks: Sequence[Block]

    def __bool__(self) -> bool:
        """Return whether there is anything to print."""
        return any(block.rows or block.note for block in self.blocks)


def slim(table: Printed) -> Printed:
    """Return a table without the columns that say the same in every row; its caption says it instead."""
    rows = [row for block in table.blocks for row in block.rows]
    if not rows:
        return table
    said: list[str] = []
    lacking: list[str] = []
    kept: list[int] = []
    for place, column in enumerate(table.columns):
        texts = {row[place].text for row in rows}
        if column.fixed or len(texts) > 1 or (len(rows) < 2 and texts != {NOTHING}):
            kept.append(place)
        elif texts == {NOTHING}:
            lacking.append(column.title)
        else:
            said.append(f"{column.title}: {texts.pop()}")
    parts = [table.caption, f"In every row: {'; '.join(said)}." if said else ""]
    parts.append(f"Not available, and left out: {', '.join(lacking)}." if lacking else "")
    blocks = [replace(block, rows=[[row[k] for k in kept] for row in block.rows]) for block in table.blocks]
    caption = " ".join(part for part in parts if part)
    return replace(table, caption=caption, columns=[table.columns[k] for k in kept], blocks=blocks)


# --------------------------------------------------------------------------------------------------------------- CSV


def to_csv(frame: pd.DataFrame, stamp: str = "") -> str:
    """Return a frame as CSV; mappings are written as JSON, missing values as empty fields.

    With a stamp its first line is a comment, which ``pandas.read_csv(path, comment="#")`` skips; texts are then in
    quotation marks where one of them holds the sign of a comment.
    """
    plain = frame.copy()
    for name in plain.select_dtypes(object):
        if any(isinstance(value, dict) for value in plain[name]):
            plain[name] = plain[name].map(json.dumps)
    text = plain.to_csv(index=False, lineterminator="\n")
    if not stamp:
        return text
    if "#" in text:
        text = plain.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return f"# {stamp}\n{text}"


# ---------------------------------------------------------------------------------------------------------- Markdown


def to_markdown(table: Printed, stamp: str = "", after: str = "") -> str:
    """Return a table as Markdown, one below the other for its blocks; ``after`` is a last paragraph."""
    head = [f"<!-- {_comment(stamp)} -->", ""] if stamp else []
    parts = [*head, f"**{_md(table.title)}.** {_md(table.caption)}", ""]
    rule = "|" + "|".join("--:" if column.right else ":--" for column in table.columns) + "|"
    for block in table.blocks:
        parts += [f"**{_md(block.title)}**", ""] if block.title else []
        if block.rows:
            parts += ["| " + " | ".join(_md(column.title) for column in table.columns) + " |", rule]
            parts += ["| " + " | ".join(_md_cell(cell) for cell in row) + " |" for row in block.rows]
            parts.append("")
        parts += [f"*{_md(block.note)}*", ""] if block.note else []
    return "\n".join([*parts, *([after] if after else [])]).rstrip("\n") + "\n"


def _md_cell(cell: Cell) -> str:
    return f"**{_md(cell.text)}**" if cell.bold else _md(cell.text)


def _md(text: str) -> str:
    for sign in "\\`*_<|":
        text = text.replace(sign, f"\\{sign}")
    # A bracket alone is no link.
    return " ".join(re.sub(r"\](?=[(\[])", r"\\]", text).split())


def _comment(text: str) -> str:
    """Return text that ends no comment of a page."""
    return text.replace("--", "- -").replace(">", "")


# -------------------------------------------------------------------------------------------------------------- HTML


def to_html(table: Printed, stamp: str = "") -> str:
    """Return a table as a page that stands alone and fetches nothing."""
    side = ["" if column.right else ' class="t"' for column in table.columns]
    head = "".join(
        f'<th scope="col"{at}>{escape(column.title)}</th>' for at, column in zip(side, table.columns, strict=True)
    )
    bodies = "\n".join(_html_block(block, side) for block in table.blocks if block.rows or block.note)
    title = escape(table.title)
    return (
        f"<!-- {_comment(stamp)} -->\n"
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f'<style>{STYLE}</style></head>\n<body><main tabindex="0"><table><caption><strong>{title}.</strong> '
        f"{escape(table.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n{bodies}\n</table></main></body></html>\n"
    )


def _html_block(block: Block, side: Sequence[str]) -> str:
    wide = f'colspan="{len(side)}"'
    lines = [f'<tr><th scope="rowgroup" {wide}>{escape(block.title)}</th></tr>'] if block.title else []
    for row in block.rows:
        cells = [f"<b>{escape(cell.text)}</b>" if cell.bold else escape(cell.text) for cell in row]
        lines.append("<tr>" + "".join(f"<td{at}>{text}</td>" for at, text in zip(side, cells, strict=True)) + "</tr>")
    if block.note:
        lines.append(f'<tr><td class="n" {wide}>{escape(block.note)}</td></tr>')
    return "<tbody>" + "\n".join(lines) + "</tbody>"


# ------------------------------------------------------------------------------------------------------------- LaTeX


@lru_cache(maxsize=1 << 15)
def latex_escape(text: str) -> str:
    """Return text in which no character means anything to LaTeX, or is unknown to it."""
    return "".join(map(_letter, text))


def breakable(text: str) -> str:
    """Return the same, with places at which a long word may go on in a new line."""
    out = latex_escape(text)
    return re.sub(r"(\\_|[/=]|\.(?=[A-Za-z]))", r"\1\\allowbreak{}", out)


def _letter(letter: str) -> str:
    known = LATEX_ESCAPES.get(letter)
    if known is not None:
        return known
    if " " <= letter <= "~":
        return letter
    if letter.isspace() or not letter.isprintable():
        return " "
    parts = unicodedata.normalize("NFD", letter)
    # Letters of western and central Europe are in the fonts of every distribution; others stand with their number.
    if "\u00a1" <= letter <= "\u00ff" or (letter <= "\u017f" and len(parts) > 1 and parts[0].isascii()):
        return letter
    return rf"\texttt{{U+{ord(letter):04X}}}"


def to_latex(table: Printed, stamp: str = "", heading: str = "") -> str:
    """Return a table as LaTeX that fits the page: small letters, a turned page, or in parts where it must.

    ``heading`` is LaTeX that is to stand above it, on the same page.
    """
    head = [f"% {' '.join(stamp.split())}"] if stamp else []
    parts: list[str] = []
    for number, part in enumerate(_parts(table)):
        parts += _longtable(*part, heading="" if number else heading)
    return "\n".join([*head, NEEDS, *parts]) + "\n"


def _parts(table: Printed) -> Iterator[tuple[Printed, str, bool, Sequence[float]]]:
    """Yield tables that fit a page each, with the size of their letters, whether the page is turned, and widths."""
    for size, turned in (("footnotesize", False), ("footnotesize", True), ("scriptsize", True)):
        room = TURNED_MM if turned else UPRIGHT_MM
        widths = _shrunk(table, size, room)
        if sum(widths) <= room + 0.01:
            yield table, size, turned, widths
            return
    widths = _widths(table, size)
    left = next((k for k, column in enumerate(table.columns) if column.right), len(widths) - 1)
    groups: list[list[int]] = [[]]
    for place in range(left, len(widths)):
        if groups[-1] and sum(widths[k] for k in (*range(left), *groups[-1], place)) > TURNED_MM:
            groups.append([])
        groups[-1].append(place)
    # As many in each, so that no part is a column or two.
    many = -(-(len(widths) - left) // len(groups))
    even = [list(range(k, min(k + many, len(widths)))) for k in range(left, len(widths), many)]
    if all(sum(widths[k] for k in (*range(left), *group)) <= TURNED_MM for group in even):
        groups = even
    for number, group in enumerate(groups, start=1):
        kept = [*range(left), *group]
        blocks = [replace(block, rows=[[row[k] for k in kept] for row in block.rows]) for block in table.blocks]
        named = f"{table.title}, part {number} of {len(groups)}"
        caption = table.caption if number == 1 else "Read as the first part."
        columns = [table.columns[k] for k in kept]
        key = f"{table.key}-{number}" if number > 1 else table.key
        yield Printed(key, named, caption, columns, blocks), size, True, [widths[k] for k in kept]


def _shrunk(table: Printed, size: str, room: float) -> list[float]:
    """Return widths that fit the room, where texts that wrap can give what is too much and keep their words whole."""
    widths = _widths(table, size)
    over = sum(widths) - room
    letter, gap = SIZES[size]
    give = []
    for place, (width, column) in enumerate(zip(widths, table.columns, strict=True)):
        texts = [column.title, *(row[place].text for block in table.blocks for row in block.rows)]
        longest = max((len(word) for text in texts for word in re.split(r"(?<=[-/_.])|\s", text)), default=0)
        give.append(max(width - letter * (longest + 1) - gap, 0.0) if column.wrap else 0.0)
    if over <= 0 or over > SHRINK * sum(give):
        return widths
    return [width - over * part / sum(give) for width, part in zip(widths, give, strict=True)]


def _widths(table: Printed, size: str) -> list[float]:
    """Return about how wide each column is, in mm, gaps included."""
    letter, gap = SIZES[size]
    rows = [row for block in table.blocks for row in block.rows]
    found = []
    for place, column in enumerate(table.columns):
        longest = max([*map(len, _lines(column.title)), *(len(row[place].text) + row[place].bold for row in rows)])
        found.append(letter * (min(longest, column.wrap) if column.wrap else longest) + gap)
    return found


def _lines(title: str, letters: int = 10) -> list[str]:
    """Return a heading in lines of few letters, no word divided."""
    lines = [""]
    for word in title.split():
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= letters or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _longtable(table: Printed, size: str, turned: bool, widths: Sequence[float], heading: str = "") -> Iterator[str]:
    letter, gap = SIZES[size]
    kinds = [
        rf">{{\raggedright\arraybackslash}}p{{{width - gap:.1f}mm}}" if column.wrap else "r" if column.right else "l"
        for column, width in zip(table.columns, widths, strict=True)
    ]
    heads = " & ".join(_heading(column) for column in table.columns) + r" \\"
    n = len(kinds)
    yield from [r"\begin{landscape}"] if turned else []
    yield from [heading] if heading else []
    yield rf"\begingroup\{size}\setlength{{\tabcolsep}}{{{gap / 2:.2f}mm}}\setlength{{\LTcapwidth}}{{\linewidth}}"
    yield rf"\begin{{longtable}}{{@{{}}{''.join(kinds)}@{{}}}}"
    yield rf"\caption{{\textbf{{{latex_escape(table.title)}.}} {breakable(table.caption)}}}\label{{tab:{table.key}}}\\"
    yield from (r"\toprule", heads, r"\midrule", r"\endfirsthead")
    yield rf"\multicolumn{{{n}}}{{@{{}}l}}{{\emph{{\tablename~\thetable, continued}}}} \\"
    yield from (r"\toprule", heads, r"\midrule", r"\endhead", r"\bottomrule", r"\endlastfoot")
    room = min(sum(widths), TURNED_MM if turned else UPRIGHT_MM)
    for place, block in enumerate(table.blocks):
        yield from [r"\addlinespace"] if place else []
        yield from _latex_block(block, table.columns, room, letter)
    yield r"\end{longtable}"
    yield r"\endgroup"
    yield from [r"\end{landscape}"] if turned else []


def _heading(column: Column) -> str:
    side = "r" if column.right else "l"
    lines = r"\\".join(latex_escape(line) for line in _lines(column.title, 18 if column.wrap else 10))
    return rf"\multicolumn{{1}}{{{side}}}{{\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}}}"


def _latex_block(block: Block, columns: Sequence[Column], room: float, letter: float) -> Iterator[str]:
    n = len(columns)
    whole = len(block.rows) <= WHOLE_ROWS
    if block.title:
        long = len(block.title) * letter > SPAN * room
        kind = rf">{{\raggedright\arraybackslash}}p{{{SPAN * room:.0f}mm}}" if long else "l"
        yield rf"\multicolumn{{{n}}}{{@{{}}{kind}@{{}}}}{{\textbf{{{breakable(block.title)}}}}} \\*"
    for place, row in enumerate(block.rows):
        texts = [
            (breakable if column.wrap else latex_escape)(cell.text) for cell, column in zip(row, columns, strict=True)
        ]
        bold = [rf"\textbf{{{text}}}" if cell.bold else text for text, cell in zip(texts, row, strict=True)]
        last = place == len(block.rows) - 1
        keep = bool(block.note) if last else whole or place == 0
        # Braces: a line that began with a bracket or a star would be read as belonging to the line break before it.
        yield "{}" + " & ".join(bold) + (r" \\*" if keep else r" \\")
    if block.note:
        kind = rf">{{\raggedright\arraybackslash}}p{{{SPAN * room:.0f}mm}}"
        yield rf"\multicolumn{{{n}}}{{@{{}}{kind}@{{}}}}{{\emph{{{breakable(block.note)}}}}} \\"
