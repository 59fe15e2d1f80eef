"""The words of the site: statuses, verdicts and flags explained, and what a study cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench.record import SCORED_STATUSES
from raredata_bench.leaderboard.rank import BASELINE, MIN_SPLITS
from raredata_bench.leaderboard.standing import (
    CHANCE_ABOVE,
    CONTROL,
    MIN_COVERAGE,
    added_nothing,
    by_chance,
    leaked,
)
from raredata_bench.report.text import IMPUTED, budget_note

STATUS_WORDS = {
    "ok": "Ran as asked.",
    "adapted": "Ran after a setting was lowered to what the few rows allow; the reason says which.",
    "degraded": "Ran, but made the wrong numbers of rows, many duplicates, or lost a class or a column.",
    "noop": "Ran and changed nothing: there was nothing to add, or the method gave the rows back as they were.",
    "low_n": "Ran on fewer rows than its authors advise.",
    "cannot_fit": "Did not run: the training fold is too small for it.",
    "invalid_rows": "Did not count: the rows made do not fit the schema of the cohort.",
    "nonfinite": "Did not count: the rows made hold infinite or missing numbers where none may be.",
    "timeout": "Did not finish in the time allowed and was stopped.",
    "out_of_memory": "Used more memory than allowed and was stopped.",
    "crashed": "The process ended by itself.",
    "error": "The code of the method, learner or scorer raised an error.",
    "leak_suspected": "Ran, but what it made is closer to rows it must not see than chance allows; it wins nothing.",
}
# What a row of the leaderboard is said to show where nobody has handed in a verdict; the order is that of sorting.
VERDICTS = {
    "above": ("interval above 0", "The whole 95 % interval of the gain lies above 0."),
    "better": ("better", "Tells from 0 after Holm, and the gain is larger than what counts as equivalent."),
    "covers": ("interval covers 0", "The 95 % interval of the gain covers 0."),
    "undecided": ("undecided", "The data allow for a gain, for none and for a loss."),
    "equivalent": ("equivalent", "A gain or a loss that matters is unlikely."),
    "worse": ("worse", "Tells from 0 after Holm, and the loss is larger than what counts as equivalent."),
    "below": ("interval below 0", "The whole 95 % interval of the gain lies below 0."),
    "thin": ("not judged", f"Fewer than {MIN_COVERAGE:.0%} of the cells ran."),
    "leak": ("leak suspected", "What the method made is too close to rows it must not see; it wins nothing."),
    "none": ("not estimable", "There is no interval: too few splits brought a score, or there is no row of none."),
    "idle": (
        "added nothing",
        "Every cell was a noop: no row was added, so that it scores as none by construction. It says nothing about the "
        "method and is in no test and in no number over datasets.",
    ),
    "same": ("same as none", "The score equals that of none on every split."),
    "absent": ("did not run", "No cell of it ran; it is no gain of zero."),
    "baseline": ("baseline", "What every gain is measured from: the real rows as they are."),
    "synthetic": ("", "Scores of the synthetic rows themselves; they have no gain."),
}
FLAGS = {
    "partial": "failed cells: counted as {impute}",
    "leak": "leak suspected",
    "exploratory": f"exploratory: fewer than {MIN_SPLITS} splits, no test",
    "control": "control method: there to check the scorers, not to win",
    "simulated": "simulated: no patient stands behind the dataset",
}
LEGEND = (
    "Gain: mean paired difference from none on the same splits; positive is better for every scorer. "
    "Interval: 95 %, corrected resampled t, without correction for how many are shown."
)
PRIVACY = (
    "Privacy scores say how well the attacks that were tried did. They bound no risk, and no score here makes rows "
    "anonymous."
)


def flag_words(impute: str) -> dict[str, str]:
    """Return :data:`FLAGS` for a leaderboard under one way of imputing."""
    return {key: text.format(impute=IMPUTED[impute]) for key, text in FLAGS.items()}


def verdict_codes(board: pd.DataFrame) -> pd.Series:
    """Return a key of :data:`VERDICTS` for every row of a leaderboard."""
    leak = pd.Series(leaked(board["statuses"]), index=board.index)
    baseline = (board["method"] == BASELINE["method"]) & (board["plan"] == BASELINE["plan"])
    rules = (
        ("synthetic", board["learner"].isna()),
        ("absent", board["coverage"] == 0),
        ("baseline", baseline),
        ("leak", leak),
        ("idle", pd.Series(added_nothing(board["statuses"]), index=board.index)),
        ("none", board["gain_low"].isna() | board["gain_high"].isna()),
        ("same", (board["gain_low"] == 0) & (board["gain_high"] == 0)),
        ("thin", board["coverage"] < MIN_COVERAGE),
        ("above", board["gain_low"] > 0),
        ("below", board["gain_high"] < 0),
    )
    found = np.select([rule.to_numpy(dtype=bool) for _, rule in rules], [key for key, _ in rules], "covers")
    return pd.Series(found, index=board.index, dtype=object)


def flag_codes(board: pd.DataFrame) -> list[list[str]]:
    """Return the keys of :data:`FLAGS` that apply to every row of a leaderboard."""
    columns = {
        "partial": board["coverage"] < 1,
        "leak": pd.Series(leaked(board["statuses"]), index=board.index),
        "exploratory": board["exploratory"] & board["learner"].notna(),
        "control": board["family"] == CONTROL,
        "simulated": board["simulated"],
    }
    held = [(key, column.to_numpy(dtype=bool)) for key, column in columns.items()]
    return [[key for key, column in held if column[i]] for i in range(len(board))]


def limits(table: pd.DataFrame, board: pd.DataFrame, broken: int = 0) -> list[str]:
    """Return what a study cannot say, one sentence each, the gravest first."""
    if table.empty:
        return ["There is no record: nothing can be said."]
    return [*_grave(table, board, broken), *_usual(table, board), PRIVACY]


def _grave(table: pd.DataFrame, board: pd.DataFrame, broken: int) -> Iterator[str]:
    if broken:
        yield f"{broken} record files are cut short; their cells are missing here until the study is run again."
    if note := budget_note(table):
        yield note
    learnt = board[board["learner"].notna()]
    if learnt.empty:
        yield "No learner was trained: whether a method helps one cannot be said."
    elif not ((learnt["method"] == BASELINE["method"]) & (learnt["plan"] == BASELINE["plan"])).any():
        yield "There is no method none: without what is measured from, no gain can be computed."
    else:
        based = learnt[(learnt["method"] == BASELINE["method"]) & (learnt["coverage"] > 0)]
        places = [*("dataset", "task", "regime", "learner")]
        lost = len(learnt[places].drop_duplicates()) - len(based[places].drop_duplicates())
        if lost:
            where = "1 place has" if lost == 1 else f"{lost} places (dataset, task, regime, learner) have"
            yield f"{where} no result of none, and therefore no gains."
    if not set(table["status"]) & SCORED_STATUSES:
        yield "No cell ran: every row here is a failure."
    others = set(learnt["method"]) - {BASELINE["method"]}
    if len(others) == 1:
        yield f"Only one method, {next(iter(others))}, stands beside none."


def _usual(table: pd.DataFrame, board: pd.DataFrame) -> Iterator[str]:
    datasets = set(table["dataset"])
    if len(datasets) == 1:
        yield f"All comes from one dataset, {next(iter(datasets))}: nothing follows for another cohort."
    made_up: set[Any] = set(board.loc[board["simulated"].astype(bool), "dataset"])
    if made_up == datasets:
        yield "Every dataset is simulated: no patient stands behind any number."
    elif made_up:
        yield f"Simulated, with no patient behind: {', '.join(sorted(map(str, made_up)))}."
    learnt = board[board["learner"].notna()]
    if len(learnt) and learnt["exploratory"].any():
        most = int(learnt["n_cells"].max())
        few = f"With {most} splits" if most < MIN_SPLITS else f"Where there are fewer than {MIN_SPLITS} splits"
        yield f"Exploratory: {few[0].lower()}{few[1:]} there are intervals, but no test, no rank and no verdict."
    judged = learnt[learnt["primary"].astype(bool) & by_chance(learnt)]
    if len(judged):
        yield (
            f"{len(judged)} intervals of methods under primary scorers are shown at once; if no method did anything, "
            f"up to about {CHANCE_ABOVE * len(judged):.1f} would lie above 0 by chance."
        )
