"""A card as Markdown, as a page that stands alone, and as a fragment of LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from raredata_bench.report.card.blocks import Alert, Block, Cell, Grid, Heading, Pairs, Para, blocks
from raredata_bench.report.card.values import SAID, Card
from raredata_bench.report.tables_formats import latex_escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --dim: #5c5c66; --line: #d6d6de; --back: #ffffff; --card: #f4f4f7;
  --said: #8a5a00; --lack: #b3261e; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --dim: #a6a6b3; --line: #3a3a44; --back: #141417; --card: #1f1f25;
    --said: #e8b45a; --lack: #ff8a80; --good: #7fd6a0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--back); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .25rem 0 .5rem; }
h2 { font-size: 1.15rem; border-top: 1px solid var(--line); padding-top: 1rem; margin: 1.75rem 0 .5rem; }
h2 small { color: var(--dim); font-weight: 400; font-size: .85rem; margin-left: .5rem; }
p { margin: .25rem 0 .75rem; max-width: 48rem; }
.alert { border-left: .3rem solid var(--lack); background: var(--card); padding: .5rem .75rem; font-weight: 600; }
.meter { background: var(--line); border-radius: .25rem; height: .5rem; max-width: 24rem; overflow: hidden; }
.meter span { background: var(--good); display: block; height: 100%; }
dl { display: grid; grid-template-columns: minmax(9rem, 17rem) 1fr; gap: .3rem 1rem; margin: .5rem 0 1rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .75rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; white-space: nowrap; color: var(--dim); padding: .2rem 0; }
th, td { padding: .2rem .75rem .2rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } .l { text-align: left; }
.said, .filled, .partial { color: var(--said); } .lack, .missing { color: var(--lack); } .filled { color: var(--good); }
.na { color: var(--dim); } .why { color: var(--dim); font-size: .85rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
a { color: inherit; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
@media print { body { max-width: none; font-size: 10pt; } .wide { overflow: visible; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } nav { display: none; } }
"""
STATE_WORDS = frozenset({"filled", "partial", "missing", "na"})


# ---------------------------------------------------------------------------------------------------------- Markdown


def to_markdown(card: Card, parts: Sequence[Block] | None = None) -> str:
    """Return a card as Markdown; ``parts`` are its blocks, where they are at hand."""
    out = [f"# {card['title'] if isinstance(card['title'], str) else card['id']}", ""]
    for block in blocks(card) if parts is None else parts:
        out += _markdown(block)
    return "\n".join(out).rstrip() + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Heading):
        beside = f" ({block.beside})" if block.beside else ""
        return [f"{'#' * block.level} {block.text}{beside}", ""]
    if isinstance(block, Para):
        return [block.text, ""]
    if isinstance(block, Alert):
        return [f"> **{block.text}**", ""]
    if isinstance(block, Pairs):
        return [*(f"- **{_md(label)}**: {_md(_with_why(value))}" for label, value in block.rows), ""]
    head = [f"*{block.title}*", ""] if block.title else []
    rule = [*([":--"] * block.left), *(["--:"] * (len(block.header) - block.left))]
    lines = ["| " + " | ".join(_md(name) for name in block.header) + " |", "| " + " | ".join(rule) + " |"]
    return [*head, *lines, *("| " + " | ".join(_md(one.text) for one in row) + " |" for row in block.rows), ""]


def _md(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _with_why(value: Cell) -> str:
    return f"{value.text} ({value.why})" if value.why else value.text


# -------------------------------------------------------------------------------------------------------------- HTML


def to_html(card: Card, back: str = "", parts: Sequence[Block] | None = None) -> str:
    """Return a card as a page that fetches nothing and reads in light, in dark and on paper.

    Parameters
    ----------
    card : mapping
    back : str
        Address of a list of all cards; none for an empty one.
    parts : sequence of Block or None
        Its blocks, where they are at hand.
    """
    title = card["title"] if isinstance(card["title"], str) else str(card["id"])
    share = round(100 * card["completeness"]["share"])
    nav = f'<nav><a href="{escape(back)}">All cards</a></nav>' if back else ""
    meter = f'<div class="meter" role="img" aria-label="{share} % filled"><span style="width:{share}%"></span></div>'
    return document(
        title, [nav, f"<h1>{escape(title)}</h1>", meter, *map(_html, blocks(card) if parts is None else parts)]
    )


def document(title: str, body: Sequence[str]) -> str:
    """Return a whole page."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    return "\n".join([head, "<body>", *body, "</body></html>"]) + "\n"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        beside = f"<small>{escape(block.beside)}</small>" if block.beside else ""
        return f"<h{block.level}>{escape(block.text)}{beside}</h{block.level}>"
    if isinstance(block, Para):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Alert):
        return f'<p class="alert" role="note">{escape(block.text)}</p>'
    if isinstance(block, Pairs):
        rows = "".join(f"<dt>{escape(label)}</dt><dd>{_html_cell(value, True)}</dd>" for label, value in block.rows)
        return f"<dl>{rows}</dl>"
    table = html_table(block)
    if not block.folded:
        return table
    return f"<details><summary>{escape(block.title)}</summary>{table}</details>"


def html_table(grid: Grid) -> str:
    """Return a table that scrolls by itself where it is too wide."""
    side = [' class="l"' if i < grid.left else "" for i in range(len(grid.header))]
    head = "".join(f'<th scope="col"{at}>{escape(name)}</th>' for name, at in zip(grid.header, side, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{at}>{_html_cell(one)}</td>" for one, at in zip(row, side, strict=True)) + "</tr>"
        for row in grid.rows
    )
    caption = f"<caption>{escape(grid.title)}</caption>" if grid.title and not grid.folded else ""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(grid.title or grid.header[0])}"><table>' \
        f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"  # fmt: skip


def _html_cell(value: Cell, reasons: bool = False) -> str:
    if value.href:
        return f'<a href="{escape(value.href)}">{escape(value.text)}</a>'
    if not value.gap:
        return f'<span class="{value.text}">{value.text}</span>' if value.text in STATE_WORDS else escape(value.text)
    kind = "said" if value.gap in SAID else "lack"
    if reasons:
        return f'<span class="{kind}">{escape(value.text)}</span> <span class="why">{escape(value.why)}</span>'
    return f'<span class="{kind}" title="{escape(value.why)}">{escape(value.text)}</span>'


# ------------------------------------------------------------------------------------------------------------- LaTeX


def to_latex(card: Card, parts: Sequence[Block] | None = None) -> str:
    r"""Return a card as a fragment for a supplement; it needs the packages booktabs, longtable and array."""
    title = card["title"] if isinstance(card["title"], str) else str(card["id"])
    out = [
        r"% Needs \usepackage{booktabs,longtable,array}.",
        rf"\subsection*{{{latex_escape(title)}}}",
        r"\begingroup\small",
    ]
    for block in blocks(card) if parts is None else parts:
        out += _latex(block)
    return "\n".join([*out, r"\endgroup"]) + "\n"


def _latex(block: Block) -> list[str]:
    if isinstance(block, Heading):
        beside = f" ({block.beside})" if block.beside else ""
        return [rf"\paragraph{{{latex_escape(block.text + beside)}}}"]
    if isinstance(block, Para):
        return [latex_escape(block.text) + r"\par"]
    if isinstance(block, Alert):
        return [rf"\textbf{{{latex_escape(block.text)}}}\par"]
    if isinstance(block, Pairs):
        rows = [rf"{latex_escape(label)} & {latex_escape(_with_why(value))} \\" for label, value in block.rows]
        columns = r">{\raggedright\arraybackslash}p{.3\linewidth}>{\raggedright\arraybackslash}p{.64\linewidth}"
        return [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", *rows, r"\end{longtable}"]
    return _latex_table(block)


def _latex_table(grid: Grid) -> list[str]:
    """Return a table in which columns of text share, by their longest entry, what the numbers leave of the line."""
    right = len(grid.header) - grid.left
    longest = [max(len(one) for one in (grid.header[j], *(row[j].text for row in grid.rows))) for j in range(grid.left)]
    weights = [min(max(n, 6), 40) for n in longest]
    free = 0.96 - 0.09 * right - 0.015 * grid.left
    text = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{max(0.06, free * part / sum(weights)):.3f}\linewidth}}"
        for part in weights
    )
    title = [r"\noindent " + latex_escape(grid.title) + r"\par"] if grid.title else []
    number = r">{\raggedleft\arraybackslash}p{.07\linewidth}" * right
    head = " & ".join(latex_escape(name) for name in grid.header) + r" \\"
    return [
        *title, r"{\footnotesize\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{@{{}}{text}{number}@{{}}}}",
        r"\toprule", head, r"\midrule\endhead", r"\bottomrule\endfoot",
        *(" & ".join(latex_escape(one.text) for one in row) + r" \\" for row in grid.rows), r"\end{longtable}}",
    ]  # fmt: skip
