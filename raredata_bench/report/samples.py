"""Pages of samples: rows made, the training row next to each, and rows that the method never saw, as plain HTML.

Each page stands alone: pictures lie in it, nothing is fetched, and it reads on a telephone, in light and in dark.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from raredata_bench.bench.made import settle
from raredata_bench.bench.record import write_atomic
from raredata_bench.bench.samples import FOLDER, Samples, read
from raredata_bench.errors import RecordError
from raredata_bench.report.text import named_dataset, number

PAGES = "pages"
INDEX = "index.html"
STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --dim: #5c5c66; --line: #d6d6de; --back: #ffffff; --card: #f4f4f7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --dim: #a6a6b3; --line: #3a3a44; --back: #141417; --card: #1f1f25; }
}
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--back); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; line-height: 1.25; } h2 { font-size: 1.15rem; border-top: 1px solid var(--line);
  padding-top: 1rem; margin-top: 2rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 45rem; } p.dim, figcaption { color: var(--dim); }
a { color: inherit; }
.rows { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); padding: 0; margin: 0; }
.rows.single { grid-template-columns: repeat(auto-fill, minmax(4rem, 1fr)); }
figure { margin: 0; padding: .35rem; background: var(--card); border-radius: .35rem; }
figure div { display: grid; grid-template-columns: 1fr 1fr; gap: .25rem; }
.single figure div { grid-template-columns: 1fr; }
img { width: 100%; height: auto; display: block; image-rendering: pixelated; }
figcaption { font-size: .8rem; text-align: center; } li { margin: .25rem 0; overflow-wrap: anywhere; }
"""
LEGEND = (
    "Each pair: left a row that the method made, right the training row next to it in the standardised table of "
    "features, and below how far apart they are (root mean square over the features; 0 is a copy, or a view that the "
    "features do not tell from it). Real rows stand with the same distance to their own next training row: rows made "
    "that lie much closer than these were copied or learnt by heart."
)
SIMULATED = "Simulated: no patient stands behind a picture."
REAL = "Pictures of real patients: the page is as confidential as the data, and lies where its owner alone can read it."
PRIVATE = (
    "Of your own data (dataset=user) no picture is kept unless the sweep is given samples=true, and of no data with "
    "samples=false. Jobs that had run before keep what they had: name another paths.results to run them again."
)


def write_pages(study: Path, folder: Path) -> list[Path]:
    """Write the pages of the samples of a study and return their paths, the index first.

    Parameters
    ----------
    study : Path
        Its folder, with files of :mod:`raredata_bench.bench.samples`; a broken one is left out and named in the index.
    folder : Path
        The pages go to ``pages`` in it, one for each dataset and method.

    Returns
    -------
    list of Path
        Empty where there are no samples.
    """
    groups: dict[tuple[str, str], list[Samples]] = {}
    broken = []
    for path in sorted((study / FOLDER).glob("*.npz")):
        try:
            found = read(path)
        except RecordError:
            broken.append(path.name)
            continue
        groups.setdefault((found.axes["dataset"], found.axes["method"]), []).append(found)
    if not groups and not broken:
        settle(folder, PAGES, ())
        return []
    names = _file_names(sorted(groups))
    pages = {folder / PAGES / INDEX: _index(groups, names, broken)}
    for at, name in names.items():
        pages[folder / PAGES / name] = _page(groups[at])
    for path, content in pages.items():
        write_atomic(path, content)
    settle(folder, PAGES, pages)
    return list(pages)


def _file_names(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a file name of each (dataset, method); a number tells those apart that would be the same."""
    out: dict[tuple[str, str], str] = {}
    for at in keys:
        plain = re.sub(r"[^\w@.-]+", "-", "_".join(at)).strip("-.") or "page"
        taken = sum(1 for name in out.values() if name.removesuffix(".html").partition("~")[0].lower() == plain.lower())
        out[at] = f"{plain}{f'~{taken + 1}' if taken else ''}.html"
    return out


def _document(title: str, body: Sequence[str]) -> str:
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    return "\n".join([head, f"<body><h1>{escape(title)}</h1>", *body, "</body></html>"]) + "\n"


def _index(
    groups: dict[tuple[str, str], list[Samples]], names: dict[tuple[str, str], str], broken: Sequence[str]
) -> str:
    body = [f"<p>{escape(LEGEND)}</p>"]
    last = ""
    for (dataset, method), name in names.items():
        first = groups[dataset, method][0]
        if dataset != last:
            body += ["</ul>"] if last else []
            body += [f"<h2>{escape(named_dataset(dataset, bool(first.about['simulated'])))}</h2>", "<ul>"]
            last = dataset
        closest = number(min(float(np.median(one.distance)) for one in groups[dataset, method]))
        real = number(float(np.median(first.real_distance)))
        body.append(
            f'<li><a href="{escape(name)}">{escape(str(first.about["label"]))}</a> ({escape(method)}): median distance '
            f"to the next training row {closest}, of real rows {real}</li>"
        )
    body += ["</ul>"] if last else []
    body += [f"<p>Not readable: {escape(', '.join(broken))}.</p>"] if broken else []
    return _document("Samples", [*body, f'<p class="dim">{escape(PRIVATE)}</p>'])


def _page(samples: Sequence[Samples]) -> str:
    first = samples[0]
    dataset = named_dataset(first.axes["dataset"], bool(first.about["simulated"]))
    body = [
        f'<p><a href="{INDEX}">All samples</a></p>',
        f"<p>{escape(str(first.about['summary']))}. A picture shows {escape(str(first.about['shows']))}.</p>",
        f"<p>{escape(LEGEND)}</p>",
        f'<p class="dim">{escape(SIMULATED if first.about["simulated"] else REAL)} {escape(PRIVATE)}</p>',
    ]
    for one in sorted(samples, key=lambda one: tuple(one.axes.values())):
        body += _section(one)
    return _document(f"{first.about['label']} on {dataset}", body)


def _section(one: Samples) -> list[str]:
    """Return one job: by class, pairs of a row made and the training row next to it, and rows never seen."""
    axes, about = one.axes, one.about
    out = [
        f"<h2>{escape(', '.join(axes[name] for name in ('task', 'regime', 'plan')))}</h2>",
        f'<p class="dim">Fitted on {about["train"]} rows; repeat {about["repeat"]}, fold {about["fold"]}.</p>',
    ]
    for code, name in enumerate(about["classes"]):
        made, real = np.flatnonzero(one.made_class == code), np.flatnonzero(one.real_class == code)
        pairs = []
        for k, i in enumerate(made, 1):
            beside = about["classes"][int(one.nearest_class[i])]
            said = number(float(one.distance[i])) + ("" if beside == name else f", {beside}")
            left = _image(one.made[i], f"Row made, {name}, {k} of {len(made)}")
            right = _image(one.nearest[i], f"The training row next to it, {beside}, at a distance of {said}")
            pairs.append(f"<figure><div>{left}{right}</div><figcaption>{escape(said)}</figcaption></figure>")
        seen = []
        for k, i in enumerate(real, 1):
            said = number(float(one.real_distance[i]))
            picture = _image(one.real[i], f"Real row that the method never saw, {name}, {k} of {len(real)}")
            seen.append(f"<figure><div>{picture}</div><figcaption>{escape(said)}</figcaption></figure>")
        if pairs:
            out += [f"<h3>{escape(name)}: made, beside the next training row</h3>"]
            out += [f'<div class="rows">{"".join(pairs)}</div>']
        if seen:
            out += [f"<h3>{escape(name)}: real, never seen</h3>", f'<div class="rows single">{"".join(seen)}</div>']
    return out


def _image(pixels: np.ndarray, alt: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    inside = base64.b64encode(buffer.getvalue()).decode()
    height, width = pixels.shape[:2]
    return f'<img src="data:image/png;base64,{inside}" width="{width}" height="{height}" alt="{escape(alt)}">'
