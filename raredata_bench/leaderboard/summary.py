"""All statistics of a study at once, and in words what could not be computed and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from raredata_bench.bench.record import RECORD_VERSION, SCORED_STATUSES
from raredata_bench.errors import RecordError
from raredata_bench.leaderboard import across, bootstrap, elo, mixed, patients, units, verdicts
from raredata_bench.leaderboard.coding import BASELINE, CELL, JOB, is_baseline
from raredata_bench.leaderboard.rank import IMPUTE, NEEDED, leaderboard, splits
from raredata_bench.leaderboard.standing import MIN_SPLITS, NOOP, added_nothing

# Scores of rank type are compared as logits, clipped by half a pair.
RANKS = ("pairs", "censored_pairs")
NO_PREDICTIONS = "No bootstrap over subjects: there are no out-of-fold predictions."


class ScorerFacts(Protocol):
    """What the statistics need to know of a scorer."""

    @property
    def family(self) -> str:
        """Return the family; costs are never imputed."""

    @property
    def higher_is_better(self) -> bool:
        """Return the direction."""

    @property
    def best(self) -> float | None:
        """Return the ideal value where that is neither end of the range."""

    @property
    def rope(self) -> float:
        """Return the half-width of the region of practical equivalence; 0 for none."""

    @property
    def mean_of(self) -> str:
        """Return what the score is a mean of; empty for nothing that is known."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a report takes: frames whose columns do not change, and sentences.

    A frame of which nothing could be computed is empty, with all its columns, and ``notes`` says why. Probabilities and
    coverage are in [0, 1]; gains are in the scorer's unit, positive when better. What is not estimable is NaN, never
    infinite but for ``patients``. ``entry`` is a method as it is called in a table: with its plan where it ran under
    several. Learner None stands where no learner does.

    Parameters
    ----------
    board : DataFrame
        :func:`raredata_bench.leaderboard.rank.leaderboard`, failed cells imputed as ``none``.
    sensitivity : DataFrame
        The same with failed cells imputed as the worst.
    verdicts : DataFrame
        One row per row of the leaderboard under ``impute`` with a learner: dataset, task, regime, method, plan,
        learner, scorer, family, primary, gain, gain_low, gain_high, p_value, ``p_holm`` (over the methods, or the
        control methods, of the same dataset, task, regime, learner and scorer), ``rope``, ``p_better, p_equivalent,
        p_worse`` (of the Bayesian correlated t: gain above, within, below the ROPE), detectable, n_paired, coverage,
        exploratory, ``verdict`` (one of :data:`raredata_bench.leaderboard.verdicts.VERDICTS`) and ``why``, a few words.
    bootstrap : DataFrame
        Paired bootstrap over subjects: dataset, task, regime, method, plan, learner, scorer, gain, gain_low, gain_high
        (95 %, BCa), n_subjects, draws. ``gain`` is taken over all pairs or rows of a repeat and not the mean over
        splits. Under ``impute="worst"`` a row with failed cells has none.
    units : DataFrame
        Which row of a dataset stands for it where datasets are pooled: dataset, task, regime, learner, scorer,
        ``source`` (one vote; variants of one simulator share it), modality, rope, n_splits, exploratory, ``weight``
        and ``review_weight`` (each sums to 1).
    gains : DataFrame
        What the statistics across datasets are made of: impute, source, entry, method, plan, family, gain, coverage,
        ``outcome`` (win, tie, loss; tie: within the ROPE; "added nothing": gain and coverage are NaN and in no number).
    across : DataFrame
        One row per impute (none, worst), weighting (equal, review) and entry: method, plan, family, ``n_datasets``
        (that its numbers are of), ``n_nothing`` (others, on which it added nothing), coverage, ranked, mean_rank,
        mean_gain, median_gain, ``worst_gain`` (5th percentile), wins, ties, losses, win_rate (a tie is half a win),
        ``harm`` (share of losses), ``regret`` (0 as good as the best, 1 as none), p_value and p_holm (Wilcoxon against
        none), p_better, p_equivalent, p_worse (Bayesian signed rank), why.
    omnibus : DataFrame
        One row per impute: n_datasets, n_methods, F, df1, df2, p_value (Iman and Davenport's form of Friedman's test),
        ``critical_difference`` (Nemenyi, of mean ranks).
    pairs : DataFrame
        All pairs of ranked entries: impute, a, b, n_datasets, p_value, p_holm, different.
    groups : DataFrame
        Bars of a critical-difference diagram: impute, group, entry, mean_rank. Entries of one group do not differ.
    mixed : DataFrame
        Mixed model, cells that ran only, without rows that added nothing: entry, method, plan, regime, n_datasets,
        scale (logit or identity), effect, effect_low, effect_high, new_low, new_high (on that scale; new: predictive
        interval for a new dataset), gain, gain_low, gain_high, gain_new_low, gain_new_high (back on the scorer's
        scale), boot_low, boot_high (cluster bootstrap over datasets, on the model's scale), exploratory.
    mixed_parts : DataFrame
        component, ``sd`` on the model's scale, kept (False: dropped, for the fit was singular with it).
    elo : DataFrame
        impute, entry, method, plan, elo, elo_low, elo_high, battles, n_datasets, mean_gain. ``none`` has 1000.
    patients : DataFrame
        dataset, task, regime, method, plan, learner, scorer, n, gain, ``extra`` real patients per class (events, where
        the regime counts these) that the gain is worth, extra_low, extra_high (infinite: more, or fewer, than the curve
        shows), ``words``, family, coverage, ``leak`` (suspected) and exploratory. Failed cells as under ``impute``.
    notes : tuple of str
        Sentences: what could not be computed, what was left out, what was chosen.
    impute : {"none", "worst"}
        What failed cells count as in ``verdicts``, ``bootstrap`` and ``patients``; ``mixed`` has no failed cells, and
        the other frames say it themselves.
    """

    board: pd.DataFrame
    sensitivity: pd.DataFrame
    verdicts: pd.DataFrame
    bootstrap: pd.DataFrame
    units: pd.DataFrame
    gains: pd.DataFrame
    across: pd.DataFrame
    omnibus: pd.DataFrame
    pairs: pd.DataFrame
    groups: pd.DataFrame
    mixed: pd.DataFrame
    mixed_parts: pd.DataFrame
    elo: pd.DataFrame
    patients: pd.DataFrame
    notes: tuple[str, ...]
    impute: str = IMPUTE[0]


def statistics(
    table: pd.DataFrame,
    scorers: Mapping[str, ScorerFacts],
    predictions: pd.DataFrame | None = None,
    *,
    learner: str | None = None,
    regime: str | None = None,
    variants: Mapping[str, str] | None = None,
    every: bool = False,
    impute: str = IMPUTE[0],
) -> Statistics:
    """Return every statistic of a study that can be computed, and a sentence for each that cannot.

    Parameters
    ----------
    table : DataFrame
        The long table of :func:`raredata_bench.bench.record.to_table`; not changed.
    scorers : mapping of str to ScorerFacts
        Facts of the scorers; rows of others are left out, and named.
    predictions : DataFrame, optional
        Out-of-fold predictions of its cells: ``cell, subject`` and what was predicted. Without them there is no
        bootstrap over subjects.
    learner, regime : str, optional
        The declared ones where datasets are pooled; see :func:`raredata_bench.leaderboard.units.units`.
    variants : mapping of str to str, optional
        What a dataset is a variant of: variants of one simulator are one vote.
    every : bool
        Bootstrap and extra patients of every scorer and not of the primary ones alone.
    impute : {"none", "worst"}
        What failed cells count as where a statistic is given under one of the two alone.

    Returns
    -------
    Statistics

    Raises
    ------
    RecordError
        The table is not the long table of a study: it lacks columns.
    """
    notes: list[str] = []
    table = usable(table, scorers, notes)
    board = leaderboard(table, scorers=scorers)
    worst = leaderboard(table, scorers=scorers, impute="worst")
    notes += _gaps(board)
    chosen, said = units.units(board, table, scorers=scorers, learner=learner, regime=regime, variants=variants)
    notes += said
    read = _read(table, scorers, every)
    long = {how: splits(read, scorers=scorers, impute=how) for how in IMPUTE}
    pooled = [_pooled(how, one, long[how], chosen, notes) for how, one in zip(IMPUTE, (board, worst), strict=True)]
    parts = {name: _stacked([one[name] for one in pooled]) for name in pooled[0]}
    effects, components = _effects(table, long["none"], chosen, parts["gains"], scorers, notes)
    worth, said = patients.patients(long[impute])
    notes += said
    return Statistics(
        board=board,
        sensitivity=worst,
        verdicts=verdicts.verdicts({"none": board, "worst": worst}[impute], scorers=scorers),
        bootstrap=_bootstrapped(table, scorers, predictions, (every, impute), notes),
        units=chosen,
        mixed=effects,
        mixed_parts=components,
        patients=worth,
        notes=tuple(dict.fromkeys(notes)),
        impute=impute,
        **parts,
    )


def with_bootstrap(
    found: Statistics,
    table: pd.DataFrame,
    scorers: Mapping[str, ScorerFacts],
    predictions: pd.DataFrame,
    *,
    every: bool = False,
) -> Statistics:
    """Return statistics that were made without predictions, with the bootstrap over subjects, which takes longest.

    Parameters
    ----------
    found : Statistics
    table, scorers, predictions, every
        As for :func:`statistics`; what has no predictions makes no row.
    """
    notes: list[str] = []
    drawn = _bootstrapped(usable(table, scorers, []), scorers, predictions, (every, found.impute), notes)
    others = (note for note in found.notes if note != NO_PREDICTIONS)
    return replace(found, bootstrap=drawn, notes=tuple(dict.fromkeys([*others, *notes])))


# ------------------------------------------------------------------------------------------------------ bad input


def usable(table: pd.DataFrame, scorers: Mapping[str, ScorerFacts], notes: list[str]) -> pd.DataFrame:
    """Return the rows of a long table that can be used together, and append to ``notes`` what was left out.

    Left out are records of another version and the second result for a split; infinite scores and those of scorers of
    which nothing is known are no scores.

    Raises
    ------
    RecordError
        The table is not the long table of a study: it lacks columns.
    """
    if table.empty:
        notes.append("There is nothing to compute: the study has left no record.")
        return pd.DataFrame(columns=list(NEEDED))
    if missing := [name for name in NEEDED if name not in table.columns]:
        raise RecordError(
            f"The table has no column {', '.join(missing)}. It must be the long table of a study, as "
            "raredata_bench.load(study) returns it."
        )
    if "version" in table.columns:
        old = table["version"].notna() & (table["version"].astype(str) != RECORD_VERSION)
        if old.any():
            notes.append(f"Left out: {old.sum()} rows of records of another version than {RECORD_VERSION}.")
            table = table[~old]
    values = pd.to_numeric(table["value"], errors="coerce")
    if (endless := np.isinf(values)).any():
        notes.append(f"{endless.sum()} infinite scores count as not estimable.")
        table = table.assign(value=values.mask(endless))
    unknown = sorted((set(table["scorer"].dropna().unique()) | set(table["primary"].dropna().unique())) - set(scorers))
    if unknown:
        notes.append(f"Left out, for nothing is known of such a scorer, not even its direction: {', '.join(unknown)}.")
        # The cells stay: that they ran, or failed, is known.
        table = table.assign(
            scorer=table["scorer"].where(~table["scorer"].isin(unknown), None),
            primary=table["primary"].where(~table["primary"].isin(unknown), None),
        )
    # Tables that were put together may have the same labels twice.
    return _one_cell_per_split(table.reset_index(drop=True), notes)


def _one_cell_per_split(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return the table without the second result for a split: of two jobs with the same axes the larger stays."""
    ids = table[[*CELL, "cell"]].drop_duplicates()
    if not ids.duplicated(CELL).any():
        return table
    source = "study" if "study" in table.columns and table["study"].nunique() > 1 else "cell"
    of_job = [name for name in ("study", "job") if name in table.columns] or ["cell"]
    sizes = table.groupby([*JOB, *of_job], dropna=False, sort=True)["cell"].nunique().rename("size").reset_index()
    sizes = sizes.sort_values("size", ascending=False, kind="stable")
    kept = sizes.drop_duplicates(JOB)
    lost = len(sizes) - len(kept)
    whose = f" of the studies {', '.join(sorted(table['study'].astype(str).unique()))}" if source == "study" else ""
    notes.append(
        f"Two results stand for one split in {lost} job{'s' if lost > 1 else ''}{whose}: other settings or other code. "
        "The one with more splits was kept, else the first by name; keep one study to be sure which."
    )
    table = table.merge(kept[[*JOB, *of_job]], on=[*JOB, *of_job])
    # What is still there twice was made by one job, or by nobody knows which.
    return table[table["cell"].isin(table.drop_duplicates(CELL)["cell"])]


def _gaps(board: pd.DataFrame) -> list[str]:
    """Return sentences on what the leaderboard itself cannot say."""
    learnt = board[board["learner"].notna()]
    main = learnt[learnt["primary"].astype(bool)]
    if learnt.empty:
        return ["No gains: no learner was run."] if len(board) else []
    notes = []
    place = ["dataset", "task", "regime", "learner"]
    bases = main[is_baseline(main) & (main["n_estimable"] > 0)]
    others = main[~is_baseline(main)]
    with_base = others[place].merge(bases[place].assign(found=True), on=place, how="left")["found"].notna().to_numpy()
    if len(others) and not with_base.all():
        lacking = others[~with_base][["dataset", "regime"]].drop_duplicates()
        named = "; ".join(f"{dataset} {regime}" for dataset, regime in lacking.itertuples(index=False, name=None))
        whole = "anywhere" if not with_base.any() else f"for {named}"
        notes.append(f"No gains {whole}: {BASELINE['method']} under {BASELINE['plan']} has no score there.")
    if others.empty:
        notes.append(f"Nothing to compare: no method beside {BASELINE['method']} was run.")
    ran = [any(name in SCORED_STATUSES for name in found) for found in main["statuses"]]
    if len(main) and not any(ran):
        notes.append("Nothing but failures: no cell ran; the coverage table says why.")
    unscored = main[(main["coverage"] > 0) & (main["n_estimable"] == 0)]
    if len(unscored):
        named = ", ".join(sorted(set(unscored["method"])))
        notes.append(f"The primary score is not estimable on any split for {named} in {len(unscored)} rows.")
    if main["exploratory"].any():
        whole = "" if main["exploratory"].all() else "Partly "
        text = f"exploratory: with fewer than {MIN_SPLITS} splits there are intervals, and no test, rank or verdict."
        notes.append(whole + text if whole else text.capitalize())
    return notes


# ------------------------------------------------------------------------------------------------------- the parts


def _read(table: pd.DataFrame, scorers: Mapping[str, ScorerFacts], every: bool) -> pd.DataFrame:
    """Return the rows of the scorers that are read split by split, every cell at least once."""
    outcomes = {key for key, facts in scorers.items() if every and facts.family != "cost"}
    wanted = (table["scorer"] == table["primary"]) | table["scorer"].isin(outcomes)
    rows = table[table["learner"].notna() & (wanted | ~table["cell"].duplicated())]
    return rows.assign(scorer=rows["scorer"].where(wanted[rows.index], None))


def _pooled(
    how: str, board: pd.DataFrame, long: pd.DataFrame, chosen: pd.DataFrame, notes: list[str]
) -> dict[str, pd.DataFrame]:
    """Return what is computed across datasets under one way of imputing."""
    found = units.gains(board, chosen, how)
    tested = bool(len(chosen)) and not chosen["exploratory"].all()
    nothing = {
        "across": pd.DataFrame(columns=list(across.COLUMNS)),
        "omnibus": pd.DataFrame(columns=list(across.OMNIBUS_COLUMNS)),
        "pairs": pd.DataFrame(columns=list(across.PAIR_COLUMNS)),
        "groups": pd.DataFrame(columns=list(across.GROUP_COLUMNS)),
        "elo": pd.DataFrame(columns=list(elo.COLUMNS)),
    }
    if found.empty:
        return {"gains": found, **nothing}
    rope = float(chosen["rope"].iloc[0])
    battles = _placed(long, chosen, found)
    why = units.rankable(found)
    methods = sorted(set(why[why == ""].index) - {BASELINE["method"]})
    regret = across.regrets(battles, chosen, methods, rope) if methods and len(battles) else None
    summary, said = across.across(found, rope=rope, regret=regret, tested=tested)
    made = {**nothing, "gains": found, "across": summary}
    if tested:
        made["omnibus"], more = across.omnibus(found)
        made["pairs"], made["groups"], pairs_said = across.all_pairs(found)
        fought = battles[battles["entry"].isin(why[why == ""].index)].assign(split=_split(battles))
        made["elo"], elo_said = elo.elo(fought, found)
        said += more + pairs_said + elo_said
    notes += said
    return made


def _placed(long: pd.DataFrame, chosen: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return the splits of the units with their source and entry, without those of rows that added nothing."""
    plain = long.astype({name: object for name in (*JOB, "scorer")})
    rows = plain.merge(chosen[[*units.PLACE, "source"]], on=units.PLACE)
    rows = rows[_added_somewhere(rows) | is_baseline(rows)]
    return rows.merge(found[["method", "plan", "entry"]].drop_duplicates(), on=["method", "plan"])


def _added_somewhere(rows: pd.DataFrame) -> pd.Series:
    """Return which splits are those of a method that did not add nothing on all of them, bool."""
    at = [rows[name] for name in (*units.PLACE, "method", "plan")]
    return (rows["status"] != NOOP).groupby(at).transform("any").astype(bool)


def _split(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby(["dataset", "task", "repeat", "fold"], sort=True, observed=True).ngroup()


def _effects(
    table: pd.DataFrame,
    long: pd.DataFrame,
    chosen: pd.DataFrame,
    found: pd.DataFrame,
    scorers: Mapping[str, ScorerFacts],
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mixed model over all sizes of the units; the primary one of each dataset is called so."""
    if chosen.empty or found.empty:
        return pd.DataFrame(columns=list(mixed.COLUMNS)), pd.DataFrame(columns=list(mixed.PART_COLUMNS))
    where = chosen.rename(columns={"regime": "primary_regime"})
    why = units.rankable(found[found["impute"] == "none"])
    place = [name for name in units.PLACE if name != "regime"]
    plain = long.astype({name: object for name in (*JOB, "scorer")}).merge(
        where[[*place, "primary_regime", "source"]], on=place
    )
    rows = plain.merge(found[["method", "plan", "entry"]].drop_duplicates(), on=["method", "plan"])
    rows = rows[rows["ran"] & rows["entry"].map(why).eq("") & ~is_baseline(rows)]
    rows = rows[_added_somewhere(rows)]
    rows = rows.assign(
        regime=rows["regime"].where(rows["regime"] != rows["primary_regime"], "primary"),
        base=rows["worth"] - rows["gain"], split=_split(rows),
    )  # fmt: skip
    rows = rows.merge(_limits(table), on=["dataset", "task", "repeat", "fold"], how="left")
    ranks = all(scorers[key].mean_of in RANKS for key in chosen["scorer"])
    rows["limit"] = rows["limit"] if ranks else float("nan")
    effects, parts, said = mixed.mixed(rows, exploratory=bool(chosen["exploratory"].all()))
    if ranks and len(effects) and (effects["scale"] == "identity").all():
        said.append("Mixed model: on the scale of the scores, for the sizes of the test folds are not in the table.")
    notes += said
    return effects, parts


def _limits(table: pd.DataFrame) -> pd.DataFrame:
    """Return by split how near to 0 or 1 a score of rank type can be told from it: half a pair of the test fold."""
    place = ["dataset", "task", "repeat", "fold"]
    if "counts" not in table.columns:
        return pd.DataFrame(columns=[*place, "limit"])
    # Where synthetic rows are scored there is no test fold.
    first = table[table["learner"].notna()].drop_duplicates([*place, "cell"])

    def limit(counts: Any) -> float:
        sizes = [n for n in (counts.get("test") or {}).values() if n] if isinstance(counts, dict) else []
        fewest, whole = min(sizes, default=0), sum(sizes)
        return 1 / (2 * fewest * (whole - fewest)) if len(sizes) > 1 else float("nan")

    found = first[place].assign(limit=[limit(counts) for counts in first["counts"]])
    return found.groupby(place, sort=False, as_index=False)[["limit"]].first()


def _bootstrapped(
    table: pd.DataFrame,
    scorers: Mapping[str, ScorerFacts],
    predictions: pd.DataFrame | None,
    how: tuple[bool, str],
    notes: list[str],
) -> pd.DataFrame:
    """Return the bootstrap over subjects of every scorer that it can be had for; ``how`` is every and impute."""
    every, impute = how
    columns = [*JOB, "scorer", "gain", "gain_low", "gain_high", "n_subjects", "draws"]
    if predictions is None or predictions.empty or table.empty:
        notes.append(NO_PREDICTIONS)
        return pd.DataFrame(columns=columns)
    cells = _drawable(table.drop_duplicates("cell"), impute, notes)[[*CELL, "cell", "primary"]]
    if every:
        learnt = table.loc[table["learner"].notna() & table["scorer"].notna(), ["dataset", "task", "scorer"]]
        asked = learnt.drop_duplicates()
    else:
        asked = cells.dropna(subset=["primary"])[["dataset", "task", "primary"]].drop_duplicates()
        asked = asked.rename(columns={"primary": "scorer"})
    rows = predictions.merge(cells.drop(columns="primary"), on="cell")
    known = asked["scorer"].map({key: facts.mean_of for key, facts in scorers.items()}).fillna("")
    without = sorted(set(asked.loc[known == "", "scorer"]) - {key for key in scorers if scorers[key].family == "cost"})
    if without:
        notes.append(f"No bootstrap over subjects for {', '.join(without)}: no mean over pairs or over rows.")
    made = []
    for scorer, at in asked[known != ""].groupby("scorer", sort=True):
        measure = bootstrap.measure_named(scorers[str(scorer)].mean_of)
        for dataset, task in at[["dataset", "task"]].itertuples(index=False, name=None):
            here = rows[(rows["dataset"] == dataset) & (rows["task"] == task)].dropna(axis=1, how="all")
            if len(here):
                up = scorers[str(scorer)].higher_is_better
                made.append(bootstrap.bootstrap(here, measure, higher_is_better=up).assign(scorer=scorer))
    if not made:
        return pd.DataFrame(columns=columns)
    found = _stacked(made)[columns]
    notes += _beside(found)
    return found


def _beside(drawn: pd.DataFrame) -> list[str]:
    """Return a sentence on the rows whose interval over subjects does not hold the gain that it is of."""
    beside = (drawn["gain"] < drawn["gain_low"]) | (drawn["gain"] > drawn["gain_high"])
    if not beside.any():
        return []
    named = "; ".join(" ".join(map(str, row)) for row in drawn.loc[beside, [*JOB, "scorer"]].to_numpy())
    return [
        f"The interval over subjects does not hold its own gain for {named}: nearly all draws lie on one side of it, "
        "which BCa takes for bias and puts right."
    ]


def _drawable(cells: pd.DataFrame, impute: str, notes: list[str]) -> pd.DataFrame:
    """Return the cells of rows that have an interval over subjects: what added nothing has none, here as elsewhere.

    A fold without predictions counts as those of ``none``; there are none that are the worst.
    """
    if cells.empty:
        return cells
    statuses = cells[cells["learner"].notna()].groupby(JOB, sort=False)["status"].agg(set)
    kept = ~added_nothing(statuses)
    failed = np.array([bool(found - SCORED_STATUSES) for found in statuses], dtype=bool)
    if impute != IMPUTE[0] and failed.any():
        notes.append(
            f"No bootstrap over subjects of {failed.sum()} rows with failed cells: there are no predictions that are "
            "the worst on a split."
        )
        kept &= ~failed
    return cells[pd.MultiIndex.from_frame(cells[JOB]).isin(statuses.index[kept]) | is_baseline(cells).to_numpy()]


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return frames below one another; one without rows has no say in the types."""
    full = [frame for frame in frames if len(frame)]
    return pd.concat(full, ignore_index=True) if full else frames[0]
