"""What a supplement tells beside its tables of results: what was run, with what, and how to run it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from raredata_bench.bench import registry
from raredata_bench.bench.record import JobRecord
from raredata_bench.leaderboard.rank import regime_order
from raredata_bench.report.card.values import Card, leaks_of
from raredata_bench.report.tables_content import interpretability
from raredata_bench.report.tables_formats import Block, Cell, Column, Printed, slim
from raredata_bench.report.text import NOTHING, named_dataset

DATASETS = (
    Column("Dataset", right=False, fixed=True), Column("What it is", right=False, wrap=34),
    Column("Modality", right=False), Column("Subjects", fixed=True), Column("Rows"), Column("Columns"), 
    Column("Licence", right=False, wrap=18), Column("Source", right=False, wrap=30),
)  # fmt: skip
METHODS = (
    Column("Method", right=False, fixed=True), Column("Name", right=False, wrap=30), Column("Family", right=False),
    Column("Class", right=False, fixed=True), Column("Licence", right=False, wrap=16),
    Column("DOI", right=False, wrap=34),
)  # fmt: skip
LEARNERS = (
    Column("Learner", right=False, fixed=True), Column("Name", right=False, wrap=34, fixed=True),
    Column("Licence", right=False, wrap=16), Column("DOI", right=False, wrap=34),
)  # fmt: skip
CARDS = (
    Column("Method", right=False, fixed=True), Column("Fields filled", fixed=True), Column("Not done", fixed=True),
    Column("Failed runs", fixed=True), Column("Card", right=False, fixed=True),
)  # fmt: skip
VERSIONS = (Column("Package", right=False, fixed=True), Column("Version", right=False, fixed=True))
DIGITS = 12


def datasets_table(records: Sequence[JobRecord], names: Mapping[str, str], known: Mapping[str, Any]) -> Printed:
    """Return the datasets of a study with sizes, licence and source.

    Parameters
    ----------
    records : sequence of JobRecord
    names : mapping of str to str
        By job, the name under which its dataset stands in the tables.
    known : mapping
        Facts of components, of :func:`raredata_bench.report.site.components.components`.
    """
    lines: dict[str, list[Cell]] = {}
    notes: dict[str, str] = {}
    for record in records:
        name = names.get(record.job, str(record.axes["dataset"]))
        info, facts = known["dataset"].get(name, {}), record.facts
        if licence(info.get("licence")) != str(info.get("licence") or ""):
            notes[name] = f"{name}: {info['licence']}."
        lines.setdefault(
            name,
            _cells(
                named_dataset(name, bool(facts.get("simulated"))), info.get("label"), facts.get("modality"),
                facts.get("n_subjects"), facts.get("n_rows"), facts.get("n_columns"),
                licence(info.get("licence")), info.get("doi") or info.get("source"),
            ),
        )  # fmt: skip
    caption = "Sizes of the whole cohort, before it is split."
    said = " ".join(notes[name] for name in sorted(notes))
    block = Block("", [lines[key] for key in sorted(lines)], f"Licences in full. {said}" if notes else "")
    return slim(Printed("datasets", "Datasets", caption, DATASETS, [block]))


def methods_table(known: Mapping[str, Any]) -> Printed:
    """Return the methods of a study with family, class, licence and DOI; control methods apart."""
    found: dict[str, list[list[Cell]]] = {}
    for key, info in sorted(known["method"].items()):
        kind = "Control methods" if info.get("family") == "control" else "Methods"
        row = (key, info.get("label"), info.get("family"), interpretability(key), info.get("licence"), info.get("doi"))
        found.setdefault(kind, []).append(_cells(*row))
    caption = (
        "Licence of the code that does the work. Class: I1 readable rule or transform, I2 explicit statistical "
        "parameters, I3 latent model with factors that can be looked at, I4 black box. Control methods check scorers "
        "and cannot win."
    )
    blocks = [Block(kind, found[kind]) for kind in sorted(found, reverse=True)]
    return slim(Printed("methods", "Methods", caption, METHODS, blocks))


def learners_table(known: Mapping[str, Any]) -> Printed:
    """Return the learners of a study with licence and DOI."""
    rows = [
        _cells(key, info.get("label"), info.get("licence"), info.get("doi"))
        for key, info in sorted(known["learner"].items())
    ]
    return slim(Printed("learners", "Learners", "Models that were trained on the rows.", LEARNERS, [Block("", rows)]))


def cards_table(cards: Iterable[Card]) -> Printed:
    """Return one line for each reporting card: how complete it is, and its file."""
    blocks: dict[tuple[str, ...], list[list[Cell]]] = {}
    for card in cards:
        axes, done = card["axes"], card["completeness"]
        failed = sum(one["runs"] for one in card["R4_validation"]["failures"])
        name = axes["method"] + ("‡" if leaks_of(card)[0] else "")
        row = (name, f"{done['filled']}/{done['mandatory']}", len(done["not_done"]), failed, card["id"])
        place = str(axes["dataset"]), str(axes["task"]), str(axes["regime"])
        blocks.setdefault(place, []).append(_cells(*row))
    ordered = sorted(blocks, key=lambda at: (at[0], at[1], regime_order(at[2])))
    caption = (
        "One card for each dataset, task, regime and method, with the four items of the scoping review: data before, "
        "data after, algorithm and validation. Filled: mandatory fields that are answered, “not done” included. "
        "The cards lie in cards/ under the name given here."
    )
    if any("‡" in row[0].text for rows in blocks.values() for row in rows):
        caption += " ‡ leak suspected in some of its runs; the card says in how many."
    return slim(
        Printed("cards", "Reporting cards", caption, CARDS, [Block(" · ".join(at), blocks[at]) for at in ordered])
    )


def protocol(records: Sequence[JobRecord], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on how the study was run."""
    profiles = {
        (config.get("folds"), config.get("repeats")): config.get("key", "")
        for config in (record.config.get("profile") or {} for record in records)
        if config
    }
    for (folds, repeats), key in sorted(profiles.items(), key=str):
        yield (
            f"Profile {key}: {folds} folds, {repeats} repeat{'s' if repeats != 1 else ''} of cross-validation, split "
            "by subject and stratified; all methods see the same splits, and no row of a test fold is seen before."
        )
    primary = {str(r.axes["task"]): str(r.facts["primary"]) for r in records if r.facts.get("primary")}
    if primary:
        texts = [f"{task} ({key})" for task, key in sorted(primary.items())]
        yield f"Tasks, with their primary scorer: {'; '.join(texts)}."
    for group, word in (("regime", "Regimes"), ("plan", "Plans")):
        held = known[group]
        texts = [f"{key} ({info['label']})" if info.get("label") else key for key, info in held.items()]
        if texts:
            yield f"{word}: {'; '.join(sorted(texts, key=lambda text: regime_order(text.partition(' ')[0])))}."
    budgets = sorted({str(record.facts["budget"]) for record in records if record.facts.get("budget")})
    if budgets:
        yield f"Budget of the methods: {', '.join(budgets)}."
    protocols = sorted({str(record.config["protocol"]) for record in records if "protocol" in record.config})
    if protocols:
        yield f"Version of the protocol: {', '.join(protocols)}."


def versions_table(records: Sequence[JobRecord]) -> Printed:
    """Return the versions of what the records were made with."""
    found: dict[str, set[str]] = {}
    for record in records:
        environment = record.environment
        held = {"python": environment.get("python"), **(environment.get("packages") or {})}
        for name, version in held.items():
            if version:
                found.setdefault(str(name), set()).add(str(version))
    rows = [_cells(name, ", ".join(sorted(versions))) for name, versions in sorted(found.items())]
    return Printed("versions", "Versions", "As the records state them.", VERSIONS, [Block("", rows)])


def licence(text: Any) -> str:
    """Return the name of a licence, without what else its note says (what it covers, whose it is)."""
    return re.split(r" \(|;", str(text or ""))[0]


def machines(records: Sequence[JobRecord]) -> str:
    """Return on what kind of machine the records were made."""
    names = ("system", "cpu", "cores", "memory_gib")
    found = {tuple(str(record.environment.get(name) or "") for name in names) for record in records}
    texts = [
        f"{system}, {cpu}, {cores} core{'s' if cores != '1' else ''}, {memory} GiB of memory"
        for system, cpu, cores, memory in sorted(found)
        if system
    ]
    return f"Machine: {'; '.join(texts)}." if texts else "The records do not say on what machine they were made."


def fingerprints(records: Sequence[JobRecord], names: Mapping[str, str]) -> str:
    """Return the first digits of the fingerprint of the rows of each dataset."""
    found = {
        names.get(record.job, str(record.axes["dataset"])): str(record.facts["data"])[:DIGITS]
        for record in records
        if record.facts.get("data")
    }
    texts = [f"{name} {digits}" for name, digits in sorted(found.items())]
    return (
        f"Fingerprints of the rows: {', '.join(texts)}." if texts else "The records hold no fingerprints of the rows."
    )


def commands(study: str) -> list[str]:
    """Return the command lines that make the study and this report again."""
    sweep = f"raredata-bench sweep study={study}" if study in registry.options("study") else "raredata-bench sweep ..."
    return [sweep, f"raredata-bench report {study}"]


def _cells(*values: Any) -> list[Cell]:
    return [Cell(NOTHING if value is None or value == "" else " ".join(str(value).split())) for value in values]
