"""What others hand to the site, joined where it is there and left out where it is not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from raredata_bench.leaderboard.patients import many
from raredata_bench.leaderboard.standing import MIN_DATASETS, MIN_SPLITS
from raredata_bench.leaderboard.summary import Statistics

CARDS = "cards"
CARD_AXES = ("dataset", "task", "regime", "method")
# Words of a verdict that say more than an interval does; the others say why there is none, as the site does itself.
JUDGED = ("better", "equivalent", "worse", "undecided")


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table that the site shows as it is, such as the statistics across datasets or fairness by subgroup.

    Parameters
    ----------
    key, title : str
        Its address on the site, ``#/sheet/<key>``, and its heading.
    note : str
        One paragraph: what the numbers are, their direction, and what they cannot say.
    table : DataFrame
        Columns are shown under their names; ``dataset`` and ``method`` become links.
    """

    key: str
    title: str
    note: str
    table: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Additions:
    """What belongs on the site beyond records and leaderboard; by default nothing.

    Parameters
    ----------
    verdicts : DataFrame or None
        Columns ``dataset, task, regime, method, plan, learner, scorer, verdict`` (a word) and optionally ``why``,
        the numbers behind it in one sentence. Rows of the leaderboard that have none keep what their interval says;
        that a leak wins nothing and that what did not run shows nothing stays, whatever is handed in.
    sheets : sequence of Sheet
        Shown in this order; empty ones are left out.
    notes : sequence of str
        Sentences above the list of sheets: what could not be computed, and why.
    """

    verdicts: pd.DataFrame | None = None
    sheets: Sequence[Sheet] = ()
    notes: Sequence[str] = ()


NOTHING_ADDED = Additions()
# Frames of :class:`Statistics` that a reader looks at, with heading and what the numbers are.
STATISTICS = {
    "across": (
        "Across datasets",
        "Every dataset has one vote, in its primary regime and with one learner chosen beforehand. Gains and wins: "
        "larger is better; mean rank, harm and regret: smaller is better. p: Wilcoxon against none, p_holm after Holm.",
    ),
    "omnibus": ("Do the methods differ at all", "Friedman's test in the form of Iman and Davenport."),
    "pairs": ("All pairs of methods", "Wilcoxon over datasets, after Holm."),
    "mixed": (
        "Mixed model",
        "Over cells that ran, without rows that added nothing. new_low and new_high: where the effect on a new dataset "
        f"would lie with 95 %. Exploratory: fewer than {MIN_SPLITS} splits or {MIN_DATASETS} datasets.",
    ),
    "elo": ("Elo", "By Bradley and Terry, none at 1000; it hides how large a gain is, which stands beside it."),
    "patients": (
        "Worth in patients",
        "How many real patients more per class (or events) would bring the same gain, with its 95 % interval; beyond: "
        "more or fewer than the curve of none shows. Each row is of one dataset: nothing follows for another. "
        f"Exploratory: fewer than {MIN_SPLITS} splits. Leak: suspected, and the row wins nothing; control methods "
        "cannot win either.",
    ),
}


FAIRNESS = Sheet(
    "fairness",
    "Fairness by subgroup",
    "How far the scores of a method lie apart between the groups of a variable; groups are small, a gap is no proof.",
    pd.DataFrame(),
)


def joined(found: Statistics, fairness: pd.DataFrame) -> Additions:
    """Return what the site shows of the statistics of a study and of the gaps between its subgroups.

    Parameters
    ----------
    found : Statistics
        Verdicts, tables across datasets, and sentences on what could not be computed.
    fairness : DataFrame
        What :func:`raredata_bench.leaderboard.fairness.fairness` returned, empty where no subgroup is declared.
    """
    told = found.verdicts
    judged = told[told["verdict"].isin(JUDGED)] if len(told) else None
    frames = {key: getattr(found, key) for key in STATISTICS} | {"patients": _in_short(found.patients)}
    sheets = [Sheet(key, title, note, frames[key]) for key, (title, note) in STATISTICS.items()]
    return Additions(judged, [*sheets, replace(FAIRNESS, table=fairness)], found.notes)


def _in_short(patients: pd.DataFrame) -> pd.DataFrame:
    """Return what gains are worth with the number to sort by, and number and interval as the printed table has them."""
    if patients.empty:
        return patients
    ends = zip(*(patients[name] for name in ("extra", "extra_low", "extra_high")), strict=True)
    told = [worth_of(*one) for one in ends]
    dropped = ["extra_low", "extra_high", "words", "coverage"]
    return patients.drop(columns=dropped).assign(worth=told)


def worth_of(extra: float, low: float, high: float) -> str:
    """Return extra patients with their interval, ``+8 [−beyond, +7]``; nothing where there is no number."""
    if math.isnan(extra):
        return ""
    texts = [
        f"{'+' if one > 0 else '−'}beyond" if math.isinf(one) else many(one) for one in (extra, low, high) if one == one
    ]
    return texts[0] if len(texts) < 3 or extra == low == high else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def cards_beside(folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield dataset, task, regime, method and address of every reporting card that lies in the folder of a study.

    Of two cards for one place the one that was written last comes last. What is no card is passed over.
    """
    for path in sorted((folder / CARDS).glob("*.json"), key=lambda path: path.stat().st_mtime):
        page = path.with_suffix(".html")
        try:
            axes = json.loads(path.read_text(encoding="utf-8"))["axes"]
            at = tuple(str(axes[name]) for name in CARD_AXES)
        except (ValueError, KeyError, TypeError):
            continue
        yield (*at, f"../{CARDS}/{(page if page.is_file() else path).name}")
