"""The card of a published paper: answers from a yaml or from a person who mistypes, and what is then missing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from raredata_bench.cli.main import main
from raredata_bench.errors import ConfigError
from raredata_bench.report.card.fields import questions
from raredata_bench.report.card.interview import oddities, parse, parse_all, read_answers
from raredata_bench.report.card.paper import paper_card
from raredata_bench.report.card.schema import problems, read_card
from raredata_bench.report.card.values import is_gap

# A study as such studies are published: sizes in images, splits by image, a gain without an interval.
PAPER = """
title: Generative augmentation of retinal images, Example 2023
dataset: own cohort of two eye clinics
source: hospital records
licence: on request
disease: Stargardt disease
orpha: ORPHA:827
modality: image
task: diag
outcome: Stargardt disease by genotype against healthy controls
unit: row
subjects: 84
rows: 1,260
classes: {Stargardt: 41, control: 43}
missing: 0
sites: 2
count_unit: row
train: {Stargardt: 492, control: 516}
generated: {Stargardt: 1500, control: 1500}
used: "Stargardt: 984, control: 1032"
rejected:
removed: 0
method: StyleGAN2-ADA
family: deep generative
kind: offline
settings: {kimg: 2000, resolution: 256}
defaults: published
tuning: no
software: [pytorch 1.12, stylegan2-ada-pytorch]
fitted_on: images of the training folds
hardware: one GPU
seconds: 93600
interpretability: I4
pretraining: no
learners: [ResNet-50]
outer: 5-fold cross-validation by image
disjoint: row
test_data: real images
leak_checks: no
metric: AUROC
value: 0.957
baseline: 0,921
gain_interval: [-0.01, 0.02]
fidelity: FID 24.1
calibration: no
diversity: no
privacy: no
plausibility: no
clinicians: no
external: no
fairness: no
patient_involvement: no
"""


def asked(key: str) -> Any:
    return next(question for question in questions() if question.key == key)


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / "paper.yaml"
    path.write_text(PAPER, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("subjects", "64", 64), ("rows", "1,280", 1280), ("rows", "1 280", 1280), ("value", "0,86", 0.86),
        ("value", "-.5", -0.5), ("missing", "5 %", 0.05), ("missing", "0.05", 0.05), ("modality", "5", "image"),
        ("modality", "IMAGE", "image"), ("task", "diag", "diagnosis"), ("classes", "A=3, B: 4", {"A": 3, "B": 4}),
        ("removed", "0", {"": 0}), ("gain_interval", "-0.02, 0.07", [-0.02, 0.07]),
        ("gain_interval", "−0.02 to 0.07", [-0.02, 0.07]), ("gain_interval", "[0; 0,1]", [0, 0.1]),
        ("settings", "epochs=300, lr: 0.1", {"epochs": "300", "lr": "0.1"}), ("learners", "a, b; c", ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_answers_are_read_as_people_write_them(key: str, text: str, value: Any) -> None:
    assert parse(asked(key), text) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "not_reported"),
        ("?", "not_reported"),
        ("no", "not_done"),
        ("-", "not_applicable"),
        ("N/A", "not_applicable"),
    ],
)
def test_no_value_is_an_answer_too(text: str, kind: str) -> None:
    assert parse(asked("tuning"), text)["gap"] == kind


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("subjects", "forty", "a whole number such as 64; got 'forty'"), ("subjects", "-3", "a whole number"),
        ("subjects", "64 patients", "a whole number"), ("subjects", "no", "Enter or ? says"),
        ("value", "high", "a number"), ("missing", "5", "Did you mean 5 %?"), ("missing", "150 %", "a share"),
        ("modality", "imge", "Did you mean 'image'?"), ("modality", "99", "one of these: table"),
        ("task", "d", "one of these: diagnosis"), ("classes", "A=3, B", "Write name=value"),
        ("classes", "A=3, A=4", "stands there twice"), ("classes", "A=three", "no whole number"),
        ("gain_interval", "0.1", "two numbers"), ("gain_interval", "0.3, 0.1", "lower end comes first"),
        ("settings", "many", "Write name=value"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_what_is_allowed(key: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="This asks for") as error:
        parse(asked(key), text)
    assert said in str(error.value)


def test_later_counts_name_the_classes_of_the_first() -> None:
    known = {"classes": {"ALS": 3, "control": 4}}
    assert parse(asked("removed"), "0", known) == {"ALS": 0, "control": 0}
    with pytest.raises(ConfigError, match="no class 'control group'. Did you mean 'control'"):
        parse(asked("used"), "ALS=3, control group=4", known)
    with pytest.raises(ConfigError, match="give each: ALS=..., control=..."):
        parse(asked("used"), "20", known)


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("subjects: many\nsubject: 3\nvalue: .9\nmissing: 7\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        parse_all(read_answers(path))
    text = str(error.value)
    assert "subject: there is no such question. Did you mean 'subjects'?" in text
    assert "subjects: This asks" in text and "missing: " in text and "value" not in text


@pytest.mark.parametrize(
    ("content", "said"), [("- a\n", "must hold answers by key"), ("a: [", "cannot be read as yaml")]
)
def test_a_file_that_holds_no_answers_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_answers(path)


def test_a_paper_becomes_a_card_by_hand(paper: Path) -> None:
    card = paper_card(read_answers(paper))
    assert problems(card) == [] and card["made_from"] == "paper"
    data = card["R1_initial_data"]
    assert (data["n_subjects"], data["n_rows"], data["task"], data["unit"]) == (84, 1260, "diagnosis", "row")
    assert data["classes"] == [{"label": "Stargardt", "subjects": 41}, {"label": "control", "subjects": 43}]
    (plan,) = card["R2_final_data"]["plans"]
    # (492 + 984) / 492 and (516 + 1032) / 516.
    assert [one["expansion"]["median"] for one in plan["classes"]] == [3, 3]
    assert plan["classes"][0]["rejected"]["gap"] == "not_reported" and plan["classes"][0]["removed"]["median"] == 0
    (row,) = card["R4_validation"]["utility"]
    assert row["gain"] == 0.036 and row["gain_interval"] == [-0.01, 0.02]
    assert card["R3_algorithm"]["software"] == [
        {"name": "pytorch", "version": "1.12"},
        {"name": "stylegan2-ada-pytorch", "version": {"gap": "not_reported", "why": "the paper does not say"}},
    ]
    # Not said: rejected, seeds, how the fits ended, coverage, failures.
    assert card["completeness"]["filled"] == 53 - 5
    assert card["completeness"]["items"]["R4"]["missing"] == ["R4_validation.coverage", "R4_validation.failures"]
    assert card["checklists"]["CLAIM"]["20"] == "filled" and card["checklists"]["TRIPOD+AI"]["19"] == "partial"


def test_what_does_not_fit_together_is_told(paper: Path) -> None:
    found = parse_all(
        read_answers(paper) | {"classes": "Stargardt=41, control=44", "generated": "Stargardt=900, control=1500"}
    )
    said = oddities(found)
    assert "The classes add up to 85 patients, not to 84." in said
    assert "Of Stargardt, 900 were made, but 984 were used or thrown away." in said
    assert "The gain, 0.036, lies outside its interval, -0.01 to 0.02." in said
    assert any("may have learnt the patient" in text for text in said) and len(said) == 4
    assert oddities({"subjects": 3, "rows": 2}) == ["There are fewer rows (2) than patients (3)."]


def test_an_empty_paper_misses_everything() -> None:
    card = paper_card({})
    assert problems(card) == [] and card["completeness"]["filled"] == 0
    assert is_gap(card["title"])


# -------------------------------------------------------------------------------------------------------- command line


def test_a_file_of_answers_needs_nobody(paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "--from-paper", str(paper), "--no-questions", "-o", str(tmp_path / "out")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "48 of 53 mandatory fields, 91 %" in out and "4. Validation: 17 of 19" in out
    assert "not answered yet: share of planned runs" in out and "Does not fit together" in out
    assert main(["card", "--check", str(tmp_path / "out" / "card.json")]) == 0
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".html", ".md", ".tex"}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def typing(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    yield typing


def test_a_person_may_mistype_go_back_stop_and_go_on(
    typed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card"
    words = ["card", "--from-paper", "-o", str(out)]
    typed("Rossi 2023", "back", "Rossi 2024", "", "own cohort", "help", "?", "-", "ALS", "", "imge", "3", "quit")
    assert main(words) == 0
    answers = yaml.safe_load((out / "answers.yaml").read_text())
    assert list(answers.items())[:3] == [("title", "Rossi 2024"), ("doi", ""), ("dataset", "own cohort")]
    assert answers["modality"] == "omics" and "task" not in answers
    text = " ".join(capsys.readouterr().out.split())
    assert "Did you mean 'image'" in text and "why: the card must name" in text and "not answered yet" in text
    # The end of the input is no error, and nothing is asked twice.
    typed("diagnosis", "")
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "Title of the paper" not in text and "9/65" in text
    card = read_card(out / "card.json")
    assert card["title"] == "Rossi 2024" and card["R1_initial_data"]["task"] == "diagnosis"
    assert card["R1_initial_data"]["source"]["why"] == "the paper does not say"
    assert card["R1_initial_data"]["n_subjects"]["why"] == "not answered yet"


def test_an_interrupt_loses_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = iter(["Rossi 2023", "10.1/x", "own cohort"])

    def interrupted(prompt: str = "") -> str:
        try:
            return next(lines)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("builtins.input", interrupted)
    assert main(["card", "--from-paper", "-o", str(tmp_path)]) == 130
    kept = yaml.safe_load((tmp_path / "answers.yaml").read_text())
    assert kept == {"title": "Rossi 2023", "doi": "10.1/x", "dataset": "own cohort"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "card takes one of"), (["a", "--check", "b"], "card takes one of"),
        (["--check", "nowhere.json"], "There is no file"), (["--from-paper", "nowhere.yaml"], "There is no file"),
        (["nosuchstudy"], "no records of study"),
    ],
)  # fmt: skip
def test_wrong_words_end_in_a_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["card", *words]) == 2
    assert said in capsys.readouterr().err


def test_check_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "card.json"
    path.write_text('{"card_version": "2.0"}', encoding="utf-8")
    assert main(["card", "--check", str(path)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "R1_initial_data: is missing" in out and "card_version: must be 1.0" in out and "A field without a value" in out
    )
    path.write_text("[1", encoding="utf-8")
    assert main(["card", "--check", str(path)]) == 2
    assert "is no JSON" in capsys.readouterr().err
