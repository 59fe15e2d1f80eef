"""Of somebody's own data what foreign code says when it breaks stays in the records; what we say is told."""

from __future__ import annotations

import json

from raredata_bench.bench.mirror_rows import pack
from raredata_bench.bench.private import KEPT_BACK, told, told_of_score
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue


def record(dataset: str) -> JobRecord:
    axes = {"dataset": dataset, "task": "diagnosis", "regime": "full", "method": "smote", "plan": "x2", "learner": None}
    cells = [
        CellRecord("a", 0, 0, "error", "could not convert 'Mrs Smith' to float", "fit", log="Mrs Smith"),
        CellRecord("b", 0, 1, "cannot_fit", "needs 6 rows per class", "fit"),
        CellRecord("c", 0, 2, scores={"ks": ScoreValue(None, "error: no 'Mrs Smith'"), "w1": ScoreValue(0.5)}),
    ]
    return JobRecord("job", "study", axes, {}, {"dataset": {"key": dataset}}, cells)


def test_messages_of_foreign_code_are_kept_back_of_private_data_only() -> None:
    assert told("error", "x", True) == KEPT_BACK and told("error", "x", False) == "x"
    assert told("cannot_fit", "x", True) == "x" and told("ok", "", True) == ""
    assert told_of_score("error: x", True) == f"error: {KEPT_BACK}"
    assert told_of_score("no reference: too few rows", True) == "no reference: too few rows"


def test_the_mirror_has_no_message_that_may_quote_a_value() -> None:
    private, public = (json.dumps(pack(record(key))) for key in ("user", "glioma"))
    assert "Smith" not in private and "needs 6 rows" in private and "0.5" in private
    assert "Mrs Smith" in public
