"""How fidelity transports to another site, beside what the scorers say of the own one."""

from __future__ import annotations

from typing import Any

import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import IncompatibleError
from raredata_bench.scoring import elsewhere as sites

COLUMNS = ["transport", "transport_low", "transport_high", "transport_reason", "elsewhere", "elsewhere_reference"]
NO_HOLDOUT = "needs patients of the own site that were not used: a hold-out"


def transported(
    rows: pd.DataFrame, train: Cohort, holdout: Cohort | None, elsewhere: Cohort, synthetic: Cohort, coder: Coder,
    seed: int, draws: int,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of a comparison with the columns :data:`COLUMNS`; they are empty but for fidelity.

    Parameters
    ----------
    rows : DataFrame
        With ``family``, ``scorer`` and ``status``, a row per scorer.
    train, holdout, elsewhere, synthetic, coder, seed, draws
        As in :func:`raredata_bench.scoring.elsewhere.abroad`; without a hold-out there is a reason in every row.

    Raises
    ------
    IncompatibleError
        The other site has other columns or classes.
    """
    same = elsewhere.schema.names == train.schema.names
    if not same or elsewhere.schema.target.strata != train.schema.target.strata:
        raise IncompatibleError(
            f"Patients of another site need the columns and classes of {train.key}. Read them with "
            "rows_like(path, real), which says where they differ."
        )
    pairs: sites.Abroad | NotEstimable = NotEstimable(NO_HOLDOUT)
    if holdout is not None:
        drawn = attempt(sites.abroad, train, holdout, elsewhere, synthetic, coder, seed, draws)
        pairs = NotEstimable(f"{drawn.status}: {drawn.reason}") if isinstance(drawn, Failed) else drawn.value
    meant = (rows["family"] == sites.FAMILY) & (rows["status"] != "incompatible")
    told = [_row(key, pairs) if known else _empty("") for key, known in zip(rows["scorer"], meant, strict=True)]
    numbers = [name for name in COLUMNS if name != "transport_reason"]
    frame = pd.DataFrame(told, columns=COLUMNS, index=rows.index).astype(dict.fromkeys(numbers, "float64"))
    return pd.concat([rows, frame], axis=1)


def _row(key: str, pairs: sites.Abroad | NotEstimable) -> dict[str, Any]:
    if isinstance(pairs, NotEstimable):
        return _empty(pairs.reason)
    answer = attempt(sites.transport, pairs, *registry.scorer(key))
    if isinstance(answer, Failed):
        return _empty(f"{answer.status}: {answer.reason}")
    found = answer.value
    if isinstance(found, NotEstimable):
        return _empty(found.reason)
    values = (found.score, found.low, found.high, "", found.value, found.reference)
    return dict(zip(COLUMNS, values, strict=True))


def _empty(reason: str) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), "transport_reason": reason}
