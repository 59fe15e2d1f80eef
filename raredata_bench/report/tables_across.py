"""Tables over datasets: ranks and gains, tests, the mixed model, worth in patients; main and sensitivity analysis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import pandas as pd

from raredata_bench.leaderboard.patients import BELOW, BEYOND, many
from raredata_bench.leaderboard.rank import regime_order
from raredata_bench.leaderboard.standing import CONTROL, MIN_DATASETS, MIN_SPLITS
from raredata_bench.leaderboard.summary import Statistics
from raredata_bench.report.tables_content import MARKED
from raredata_bench.report.tables_formats import Block, Cell, Column, Printed, slim
from raredata_bench.report.text import IMPUTED as COUNTED
from raredata_bench.report.text import NOTHING, missing, number, probability

IMPUTED = {
    "none": "Main analysis: failed cells count as none",
    "worst": "Sensitivity analysis: failed cells count as the worst on their split",
}
WEIGHED = {"equal": "every dataset one vote", "review": "weighed by the share of the modality in the review"}
RANKS = (
    Column("Method", right=False, fixed=True), Column("Datasets"), Column("Ran"), Column("Mean rank", fixed=True),
    Column("Win / tie / loss", fixed=True), Column("Win rate"), Column("Mean gain", fixed=True),
    Column("Median gain", fixed=True), Column("5th percentile"), Column("Harm", fixed=True), Column("Regret"),
    Column("Remark", right=False, wrap=24),
)  # fmt: skip
TESTS = (
    Column("Method", right=False, fixed=True), Column("Datasets", fixed=True), Column("Wilcoxon p"),
    Column("p after Holm"), Column("P better"), Column("P equivalent"), Column("P worse"), Column("Elo"),
    Column("95 %"), Column("Mean gain", fixed=True),
)  # fmt: skip
MODEL = (
    Column("Method", right=False, fixed=True), Column("Datasets"), Column("Gain", fixed=True),
    Column("95 %", fixed=True), Column("New dataset, 95 %", fixed=True), Column("Effect"), Column("95 %"),
    Column("New dataset, 95 %"), Column("Bootstrap over datasets"),
)  # fmt: skip
WORTH = (
    Column("Method", right=False, fixed=True), Column("Plan", right=False), Column("Size"),
    Column("Gain", fixed=True), Column("Extra patients", fixed=True), Column("95 %", fixed=True),
)  # fmt: skip


def ranks_table(found: Statistics) -> Printed:
    """Return ranks, wins and gains over datasets, for both ways of imputing and both weightings."""
    blocks = _once(
        Block(f"{IMPUTED.get(str(impute), impute)}; {WEIGHED.get(str(weighting), weighting)}", _each(rows, _ranked))
        for (impute, weighting), rows in _grouped(found.across, ["impute", "weighting"])
    )
    caption = (
        f"{_pooled(found)} Win and loss: the gain leaves the region of practical equivalence (± {_rope(found)}); a tie "
        "is half a win in the win rate. Harm: share of losses. Regret: 0 as good as the best method, chosen on other "
        "splits than it is scored on, 1 as none. Mean rank: 1 is the best, among methods ranked on every dataset. "
        f"{_counted(found)}"
    )
    return slim(Printed("across", "Ranks and gains over datasets", caption, RANKS, blocks))


def tests_frame(found: Statistics) -> pd.DataFrame:
    """Return the rows of ``across`` that were tested, every dataset one vote, with Elo beside them."""
    told = found.across[found.across["weighting"] == "equal"]
    told = told.merge(found.elo[["impute", "entry", "elo", "elo_low", "elo_high"]], on=["impute", "entry"], how="left")
    return told[told[["p_value", "p_better", "elo"]].notna().any(axis=1)]


def tests_table(found: Statistics) -> Printed:
    """Return tests against ``none`` and Elo, for both ways of imputing; nothing where nothing was tested."""
    blocks = _once(
        Block(IMPUTED.get(str(impute), str(impute)), _each(rows, _tested))
        for (impute,), rows in _grouped(tests_frame(found), ["impute"])
    )
    caption = (
        f"{_pooled(found)} Wilcoxon's signed-rank test against none, Holm over methods; probabilities of the Bayesian "
        f"signed-rank test that a method is better, equivalent (± {_rope(found)}) or worse. Elo by Bradley and Terry, "
        "none at 1000, interval by a bootstrap over datasets; it hides how large a gain is. "
        + " ".join(_omnibus(found))
    )
    return slim(Printed("tests", "Tests over datasets", caption.strip(), TESTS, blocks))


def model_table(found: Statistics) -> Printed:
    """Return the mixed model, a block for each regime, the primary one first."""
    rows = found.mixed
    names = (
        sorted(set(rows["regime"]), key=lambda name: (name != "primary", regime_order(str(name)))) if len(rows) else []
    )
    blocks = []
    for name in names:
        held = rows[rows["regime"] == name].sort_values(["gain", "entry"], ascending=[False, True], kind="stable")
        title = "Primary regime of each dataset" if name == "primary" else f"Regime {name}"
        blocks.append(Block(title, _each(held, _modelled)))
    parts = [
        f"{one['component']} {number(one['sd'])}" + ("" if one["kept"] else " (dropped: singular)")
        for one in found.mixed_parts.to_dict("records")
    ]
    scale = ", ".join(sorted(set(rows["scale"]))) if len(rows) else ""
    caption = (
        "Fixed effects of method and regime, random effects of dataset, dataset and method, and split; cells that "
        "ran only, without rows that added nothing. New dataset: where the gain on a dataset that is not among these "
        f"would lie with 95 %. Effects are on the {scale} scale, gains on that of the scores. Standard deviations: "
        f"{', '.join(parts)}."
    )
    caption += (
        " Bootstrap over datasets: of the plain mean over datasets, each its mean over splits; the effect weighs "
        "datasets by what they tell, and is the same where all cells ran."
    )
    caption += _outside(rows, "effect", "boot_low", "boot_high", "the effect weighs datasets otherwise")
    if len(rows) and rows["exploratory"].any():
        caption += f" * exploratory: fewer than {MIN_SPLITS} splits, or fewer than {MIN_DATASETS} datasets."
    return slim(Printed("mixed", "Mixed model over datasets", caption, MODEL, blocks))


def patients_table(found: Statistics) -> Printed:
    """Return what the gains are worth in real patients, a block for each dataset, task, learner and scorer."""
    blocks = []
    for (dataset, task, learner, scorer), rows in _grouped(found.patients, ["dataset", "task", "learner", "scorer"]):
        ran, still = rows["gain"].notna(), rows["gain"] == 0
        # Methods, then control methods, then what may know the test fold.
        apart = rows["family"].eq(CONTROL) * 1 + rows["leak"].astype(bool) * 2
        moved = rows.assign(apart=apart)[ran & ~still]
        moved = moved.sort_values(["n", "apart", "gain"], ascending=[True, True, False], kind="stable")
        notes = [_named("Gain 0, worth none", rows[still]), _named("Did not run", rows[~ran])]
        title = f"{dataset} · {task} · {learner}: {scorer}"
        blocks.append(Block(title, _each(moved, _worth), " ".join(note for note in notes if note)))
    caption = (
        "How many real patients more per class (or events, in regimes that count these) would have done for none what "
        "the method did, read from its learning curve made monotone; negative where the method does harm. Interval: "
        f"bootstrap over splits, widened as the corrected t is. +beyond: {BEYOND}; −beyond: {BELOW}. Each line is of "
        "one dataset: nothing follows for another. Methods that added nothing are left out; control methods are named "
        "so, and cannot win."
    )
    why = "in draws the curve is made monotone anew"
    caption += _outside(found.patients, "extra", "extra_low", "extra_high", why)
    signs = "".join(_marks(row) for row in found.patients.to_dict(orient="records"))
    said = [f"{sign} {text.format(impute=COUNTED[found.impute])}" for sign, text in MARKED.items() if sign in signs]
    caption += f" {'; '.join(said)}." if said else ""
    return slim(Printed("patients", "Worth in real patients", caption, WORTH, blocks))


# --------------------------------------------------------------------------------------------------------------- rows


def _grouped(frame: pd.DataFrame, names: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Yield groups in the order of the frame."""
    if len(frame):
        yield from frame.groupby(names, sort=False)


def _once(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks without those that say what an earlier one said; below that one stands which are the same."""
    kept: list[Block] = []
    for block in blocks:
        same = next((k for k, one in enumerate(kept) if one.rows == block.rows), None)
        if same is None:
            kept.append(block)
            continue
        first = kept[same]
        kept[same] = replace(first, note=f"{first.note} {block.title}: the same numbers.".strip())
    return kept


def _each(rows: pd.DataFrame, line: Any) -> list[list[Cell]]:
    return [line(row) for row in rows.to_dict(orient="records")]


def _texts(*texts: str) -> list[Cell]:
    return [Cell(text) for text in texts]


def _ranked(row: Mapping[Any, Any]) -> list[Cell]:
    control = row["family"] == CONTROL and row["method"] != "none"
    whole = row["n_datasets"] + row["n_nothing"]
    return _texts(
        f"{row['entry']} (control)" if control else str(row["entry"]),
        f"{row['n_datasets']} of {whole}" if row["n_nothing"] else str(row["n_datasets"]), _share(row["coverage"]),
        NOTHING if missing(row["mean_rank"]) else f"{row['mean_rank']:.2f}",
        f"{row['wins']} / {row['ties']} / {row['losses']}" if row["n_datasets"] else NOTHING, number(row["win_rate"]),
        number(row["mean_gain"], True),
        number(row["median_gain"], True), number(row["worst_gain"], True), _share(row["harm"]), number(row["regret"]),
        str(row["why"] or NOTHING),
    )  # fmt: skip


def _tested(row: Mapping[Any, Any]) -> list[Cell]:
    return _texts(
        str(row["entry"]), str(row["n_datasets"]),
        *(probability(row[name]) for name in ("p_value", "p_holm", "p_better", "p_equivalent", "p_worse")),
        NOTHING if missing(row["elo"]) else f"{row['elo']:.0f}",
        NOTHING if missing(row["elo_low"]) else f"[{row['elo_low']:.0f}, {row['elo_high']:.0f}]",
        number(row["mean_gain"], True),
    )  # fmt: skip


def _modelled(row: Mapping[Any, Any]) -> list[Cell]:
    ends = ("gain_low", "gain_high"), ("gain_new_low", "gain_new_high")
    of_effect = ("effect_low", "effect_high"), ("new_low", "new_high"), ("boot_low", "boot_high")
    return _texts(
        str(row["entry"]), str(row["n_datasets"]), number(row["gain"], True) + ("*" if row["exploratory"] else ""),
        *(_ends(row, *one) for one in ends),
        number(row["effect"], True), *(_ends(row, *one) for one in of_effect),
    )  # fmt: skip


def _worth(row: Mapping[Any, Any]) -> list[Cell]:
    ends = [_many(row[name]) for name in ("extra_low", "extra_high")]
    gain = number(row["gain"], True) + _marks(row)
    name = f"{row['method']} (control)" if row["family"] == CONTROL else str(row["method"])
    interval = NOTHING if NOTHING in ends else f"[{', '.join(ends)}]"
    return _texts(name, str(row["plan"]), str(row["regime"]), gain, _many(row["extra"]), interval)


def _marks(row: Mapping[Any, Any]) -> str:
    """Return the marks of a row of worth in patients; what ran nowhere has none, for it is named below."""
    if missing(row["gain"]):
        return ""
    signs = {"†": row["coverage"] < 1, "‡": bool(row["leak"]), "*": bool(row["exploratory"])}
    return "".join(sign for sign, applies in signs.items() if applies)


def _outside(rows: pd.DataFrame, value: str, low: str, high: str, why: str) -> str:
    """Return a sentence on how many numbers lie outside the interval beside them, empty where none does."""
    n = int(((rows[value] < rows[low]) | (rows[value] > rows[high])).sum()) if len(rows) else 0
    return f" Of {n} row{'s' if n > 1 else ''} the number lies outside this interval: {why}." if n else ""


def _named(title: str, rows: pd.DataFrame) -> str:
    names = [f"{one['method']} ({one['plan']}, {one['regime']})" for one in rows.to_dict("records")]
    return f"{title}: {', '.join(names)}." if names else ""


def _many(value: Any) -> str:
    """Return a number of patients; what the study cannot tell is beyond it, on either side."""
    if missing(value):
        return NOTHING
    return f"{'−' if value < 0 else '+'}beyond" if abs(value) == inf else many(value)


def _ends(row: Mapping[Any, Any], low: str, high: str) -> str:
    if missing(row[low]) or missing(row[high]):
        return NOTHING
    return f"[{number(row[low], True)}, {number(row[high], True)}]"


def _share(value: Any) -> str:
    return NOTHING if missing(value) else f"{100 * value:.0f} %"


# ------------------------------------------------------------------------------------------------------------ captions


def _pooled(found: Statistics) -> str:
    """Return which row of each dataset stands for it."""
    rows = found.units.to_dict("records")
    stands = "; ".join(f"{one['dataset']} {one['regime']} {one['learner']} ({one['scorer']})" for one in rows)
    few = ""
    if any(one["exploratory"] for one in rows):
        few = f" Exploratory: fewer than {MIN_SPLITS} splits, no rank and no test."
    return f"Each dataset stands with one regime and learner, chosen without a look at any score: {stands}.{few}"


def _counted(found: Statistics) -> str:
    """Return who counts as what where datasets are pooled."""
    idle = len(found.across) > 0 and bool(found.across["n_nothing"].any())
    text = (
        "Datasets: those that the numbers of a method are of. A cell that could not run is imputed, as the heading "
        "says, and its dataset counts"
    )
    added = "a method that added nothing on a dataset is as none there by construction, and that dataset is in none of"
    return f"{text}; {added} its numbers." if idle else f"{text}."


def _rope(found: Statistics) -> str:
    ropes = sorted(set(found.units["rope"])) if len(found.units) else []
    return ", ".join(number(rope) for rope in ropes) or NOTHING


def _omnibus(found: Statistics) -> Iterator[str]:
    """Yield the test of all methods at once under each way of imputing, once where the numbers are the same."""
    rows = found.omnibus.to_dict("records")
    if not rows:
        return
    yield "All at once: Friedman's test (Iman and Davenport's form); CD: critical difference of mean ranks (Nemenyi)."
    told: dict[str, list[str]] = {}
    for row in rows:
        p = probability(row["p_value"])
        text = (
            f"{row['n_datasets']} datasets, {row['n_methods']} methods, F({row['df1']:.0f}, {row['df2']:.0f}) = "
            f"{row['F']:.2f}, p {p if p.startswith(('<', '>')) else f'= {p}'}, CD {row['critical_difference']:.2f}"
        )
        told.setdefault(text, []).append(IMPUTED.get(str(row["impute"]), str(row["impute"])).partition(":")[0])
    for text, analyses in told.items():
        yield f"{' and '.join(analyses).capitalize()}: {text}."
