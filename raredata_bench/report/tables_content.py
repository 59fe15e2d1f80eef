"""What the tables of a study are made of, and what stands beside every score: sizes, expansion, costs, marks."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.record import SCORED_STATUSES, JobRecord
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.best import like_best
from raredata_bench.leaderboard.coding import JOB
from raredata_bench.leaderboard.rank import IMPUTE, ROW, splits
from raredata_bench.leaderboard.standing import MIN_SPLITS, leaked
from raredata_bench.leaderboard.summary import Statistics
from raredata_bench.leaderboard.verdicts import verdicts
from raredata_bench.report.text import NOTHING

ROWS_JOB = ["dataset", "task", "regime", "method", "plan"]
PLACE = ["dataset", "task", "regime", "learner", "scorer"]
# What costs are called in a record.
FIT, PEAK = "fit_seconds", "peak_mib"
SAMPLE = "sample_seconds"
MARKED = {
    "†": "not every cell ran; failed ones count as {impute}",
    "‡": "a leak or a copy of patients is suspected, and the row wins nothing",
    "*": f"exploratory: fewer than {MIN_SPLITS} splits, an interval and no test",
}


@dataclass(frozen=True, eq=False)
class Content:
    """What the tables of a study are made of.

    Parameters
    ----------
    table, board : DataFrame
        Its long table, with ``attrs``, and a leaderboard of all scorers.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers of the leaderboard.
    found : Statistics or None
        Its statistics; without them there is no table over datasets.
    fair : DataFrame or None
        Gaps between subgroups, as :func:`raredata_bench.leaderboard.fairness.fairness` returns them.
    impute : {"none", "worst"}
        What a failed cell counts as in ``board``.
    records : sequence of JobRecord
        What GPU the records speak of; none for no such column.
    private : frozenset of str
        Jobs on rows of whoever ran the study: what foreign code said of these is not printed.
    """

    table: pd.DataFrame
    board: pd.DataFrame
    scorers: Mapping[str, ScorerInfo]
    found: Statistics | None = None
    fair: pd.DataFrame | None = None
    impute: str = IMPUTE[0]
    records: Sequence[JobRecord] = ()
    private: frozenset[str] = field(default_factory=frozenset)


def stamp_of(table: pd.DataFrame) -> str:
    """Return the first line of every file: study, hash of its configurations, code revisions, version."""
    studies = sorted(set(table["study"].astype(str)) - {""}) if "study" in table else []
    named = ",".join(studies) or str(table.attrs.get("study", "")) or "none"
    revisions = ",".join(str(one)[:13] for one in table.attrs.get("git") or []) or "unknown"
    config = table.attrs.get("config") or "unknown"
    version = importlib.metadata.version("raredata-bench")
    return f"raredata-bench {version} study={named} config={config} revision={revisions}"


def installed_facts(table: pd.DataFrame) -> dict[str, ScorerInfo]:
    """Return the facts of the scorers of a long table, primary ones included, as far as they are installed here."""
    named = set(table["scorer"].dropna()) | set(table["primary"].dropna()) if len(table) else set()
    keys = sorted(named & set(registry.options("scorer")))
    return {key: registry.info_of("scorer", key) for key in keys}


def judged(content: Content) -> pd.DataFrame:
    """Return the rows of the leaderboard that have a learner, with all that is known of each.

    Beside the columns of the leaderboard: those of the verdicts, ``is_best, p_best, like_best``, ``subjects_gain``,
    ``subjects_low`` and ``subjects_high`` (bootstrap over subjects: its own estimate of the gain, and the interval),
    ``sd_repeats`` (of the mean of each repeat), ``expansion_low, expansion_high``, ``fit_seconds,
    seconds_per_1000, peak_mib``, ``gpu`` and ``interpretability``.
    """
    learnt = content.board[content.board["learner"].notna()]
    if learnt.empty:
        return learnt.assign(like_best=False)
    told = verdicts(learnt, scorers=content.scorers)
    more = [name for name in told.columns if name not in learnt.columns]
    rows = learnt.merge(told[[*ROW, *more]], on=ROW, how="left")
    rows = rows.merge(_split_facts(content), on=ROW, how="left")
    rows["like_best"], rows["is_best"] = rows["like_best"].eq(True), rows["is_best"].eq(True)
    if content.found is not None and len(content.found.bootstrap):
        drawn = content.found.bootstrap[[*ROW, "gain", "gain_low", "gain_high"]]
        names = {"gain": "subjects_gain", "gain_low": "subjects_low", "gain_high": "subjects_high"}
        drawn = drawn.rename(columns=names)
        rows = rows.merge(drawn, on=ROW, how="left")
    else:
        rows = rows.assign(subjects_gain=np.nan, subjects_low=np.nan, subjects_high=np.nan)
    return rows.merge(costs(content), on=JOB, how="left")


def _split_facts(content: Content) -> pd.DataFrame:
    """Return by row what is like the best, and the spread of the means of its repeats, of primary scorers alone."""
    known = content.table["primary"].isin(set(content.scorers))
    table = content.table.assign(primary=content.table["primary"].where(known, None))
    read = table[table["learner"].notna() & ((table["scorer"] == table["primary"]) | ~table["cell"].duplicated())]
    read = read.assign(scorer=read["scorer"].where((read["scorer"] == read["primary"]).to_numpy(), None))
    long = splits(read, scorers=content.scorers, impute=content.impute)
    if long.empty:
        return pd.DataFrame(columns=[*ROW, "is_best", "p_best", "like_best", "sd_repeats"])
    best = like_best(long)
    by_repeat = long.groupby([*ROW, "repeat"], observed=True, sort=True)["value"].mean()
    spread = by_repeat.groupby(ROW, observed=True).std().rename("sd_repeats").reset_index()
    return best.merge(spread.astype({name: object for name in ROW}), on=ROW, how="left")


def costs(content: Content) -> pd.DataFrame:
    """Return by job what it cost, what it added, and what kind of thing its method is."""
    board = content.board[content.board["learner"].notna()]
    found = board.drop_duplicates(JOB)[JOB].reset_index(drop=True)
    for name in (FIT, PEAK):
        own = board.loc[board["scorer"] == name, [*JOB, "value"]].rename(columns={"value": name})
        found = found.merge(own, on=JOB, how="left")
    cells = content.table[content.table["learner"].notna()].drop_duplicates("cell")
    took = content.table.loc[content.table["scorer"] == SAMPLE, ["cell", "value"]].drop_duplicates("cell")
    cells = cells.merge(took.rename(columns={"value": "took"}), on="cell", how="left")
    cells = cells.assign(
        added=[_total(counts, "added") for counts in cells["counts"]],
        **{f"expansion_{end}": [_expansion(counts, end) for counts in cells["counts"]] for end in ("low", "high")},
    )
    by = cells.groupby(JOB, sort=True)
    ends = by.agg(
        expansion_low=("expansion_low", "min"), expansion_high=("expansion_high", "max"), job=("job", "first"),
    )  # fmt: skip
    known = cells[cells["took"].notna() & (cells["added"] > 0)].groupby(JOB, sort=True)[["took", "added"]].sum()
    ends["seconds_per_1000"] = 1000 * known["took"] / known["added"]
    found = found.merge(ends.reset_index(), on=JOB, how="left")
    gpus = {record.job: gpu_of(record) for record in content.records}
    found["gpu"] = found.pop("job").map(gpus).fillna(NOTHING)
    classes = {key: interpretability(str(key)) for key in found["method"].unique()}
    return found.assign(interpretability=found["method"].map(classes))


def _total(counts: Any, name: str) -> float:
    held = counts.get(name) if isinstance(counts, dict) else None
    return float(sum(value for value in (held or {}).values() if value))


def _expansion(counts: Any, end: str) -> float:
    held = counts.get("expansion") if isinstance(counts, dict) else None
    rates = [float(value) for value in (held or {}).values() if value is not None]
    return (min if end == "low" else max)(rates) if rates else np.nan


def gpu_of(record: JobRecord) -> str:
    """Return whether a GPU was used, as far as the record tells: a torch built for the CPU alone had none."""
    torch = str((record.environment.get("packages") or {}).get("torch", ""))
    return "no" if torch.endswith("+cpu") else NOTHING


def interpretability(method: str) -> str:
    """Return the class of a method, I1 to I4; a dash where it is not installed here."""
    key = method.partition("[")[0]
    return registry.info_of("method", key).interpretability if key in registry.options("method") else NOTHING


def learnt_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells in which a learner was trained, one row each; all cells where none was.

    Synthetic rows may be scored on halves of a cohort, whose sizes are not those that anybody was trained on.
    """
    learnt = table[table["learner"].notna()]
    return (learnt if len(learnt) else table).drop_duplicates("cell")


def sizes(table: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """Return by dataset, task and regime the real training subjects of each class or stratum, in words."""
    found: dict[tuple[str, str, str], str] = {}
    if table.empty or "counts" not in table:
        return found
    cells = learnt_cells(table)
    for at, rows in cells.groupby(ROWS_JOB[:3], sort=True):
        by: dict[str, list[float]] = {}
        for counts in rows["counts"]:
            held = counts if isinstance(counts, dict) else {}
            real = (held.get("subjects") or {}).get("real") or held.get("real") or {}
            for name, n in real.items():
                by.setdefault(str(name), []).append(float(n))
        dataset, task, regime = map(str, at)
        found[dataset, task, regime] = ", ".join(
            f"{name} {min(n):.0f}" + (f"–{max(n):.0f}" if max(n) > min(n) else "") for name, n in by.items()
        )
    return found


def marks(row: Mapping[Any, Any]) -> str:
    """Return the marks of :data:`MARKED` that apply to a row of the leaderboard."""
    leak = bool(leaked([row["statuses"]])[0])
    base = row["verdict"] == "baseline"
    signs = {"†": row["coverage"] < 1, "‡": leak, "*": bool(row["exploratory"]) and not base}
    return "".join(sign for sign, applies in signs.items() if applies)


def ran_of(statuses: Mapping[str, int]) -> str:
    """Return how many cells ran, of how many."""
    return f"{sum(n for name, n in statuses.items() if name in SCORED_STATUSES)}/{sum(statuses.values())}"
