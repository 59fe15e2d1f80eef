// The leaderboard: filters, table, and the view of one row's place.

const FILTERS = ["modality", "dataset", "task", "regime", "family", "method", "plan", "learner", "axis", "scorer", "patients", "show"];
const intervalText = row => (board.verdict(row) === "absent" || missing(board.gain_low(row)) || missing(board.gain_high(row)) ? "" : `[${number(board.gain_low(row), true)}, ${number(board.gain_high(row), true)}]`);
const ranText = row => `${Math.round(board.coverage(row) * board.n_cells(row))}/${board.n_cells(row)}`;

/** Return where a row was measured, without the fields that are said elsewhere. */
function placeOf(row, without) {
  const parts = { dataset: datasetName(board.dataset(row)), task: board.task(row), regime: board.regime(row), plan: board.plan(row), learner: board.learner(row), scorer: board.scorer(row) };
  return Object.entries(parts).filter(([name, value]) => value !== null && !without.includes(name)).map(([, value]) => value).join(" · ");
}

/** Return the interval as a bar, for the eye alone: the numbers stand beside it. */
function intervalBar(row, reach) {
  const low = board.gain_low(row), high = board.gain_high(row), gain = gainOf(row);
  if (missing(gainOf(row))) return null;
  const at = value => `${Math.max(0, Math.min(100, 50 + (50 * value) / reach))}%`;
  const bar = missing(low) ? null : el("i", { class: "reach", style: { left: at(low), right: `${100 - parseFloat(at(high))}%` } });
  return el("span", { class: `span ${board.verdict(row)}`, "aria-hidden": "true" }, el("i", { class: "zero" }), bar, el("i", { class: "at", style: { left: at(gain) } }));
}

/** The score of a row; of what did not run only its cost is its own. */
const scoreOf = row => (board.verdict(row) === "absent" && board.axis(row) !== "cost" ? null : board.value(row));
/** Whether a row takes part in an order by gain: what leaks, did not run or changed nothing has won nothing and comes last. */
const RANKED = row => !["leak", "absent", "idle", "same", "baseline", "thin"].includes(board.verdict(row));
const TONES = { above: "up", better: "up", below: "down", worse: "down", leak: "leak", absent: "bad" };

/** Return what a row shows in words, with the numbers behind it on hover and focus. */
function verdictCell(row) {
  const key = board.verdict(row), p = board.p_value(row), unseen = board.detectable(row);
  const why = [verdictWhy(row), missing(p) ? "" : `p ${p < 0.0005 ? "< .001" : `= ${number(p)}`}, two-sided, corrected for resampling and not for how many are shown.`,
    missing(unseen) || key === "leak" ? "" : `A gain below about ${number(unseen)} would mostly go unseen (80 % power).`].filter(Boolean).join(" ");
  return hint(verdictWord(key), why, TONES[key] || "");
}

/** Return the flags of a row that nothing else in its line says, nor the line above the table. */
const noted = (row, shared) => board.flags(row).filter(flag => !shared.includes(flag) && !(flag === "leak" && board.verdict(row) === "leak"));

/** Return the flags of a row as words that are explained on hover; those that all rows share stand above the table. */
function flagCell(row, shared) {
  const found = noted(row, shared);
  const statuses = Object.entries(board.statuses(row)).map(([name, n]) => `${n} ${name}`).join(", ");
  const text = { partial: `† ${board.imputed(row)} imputed`, leak: "‡ leak?", exploratory: "exploratory", control: "control", simulated: "simulated" };
  if (!board.imputed(row)) text.partial = "† failures";
  return found.map(flag => hint(text[flag], `${words.flag[flag][0].toUpperCase()}${words.flag[flag].slice(1)}. Cells: ${statuses}.`, flag === "leak" ? "leak" : flag === "partial" ? "bad" : "dim"));
}

/** Return the columns of a table of rows; what does not vary is left out and named in `shared`. */
function boardColumns(rows, without = []) {
  const synthetic = rows.length > 0 && rows.every(row => !board.learnt(row));
  const varies = field => rows.some(row => FIELDS[field].of(row) !== FIELDS[field].of(rows[0]));
  // The length of the bars is taken from some two thousand rows; flags and the like are looked at once for each kind.
  const step = Math.ceil(rows.length / 2000);
  const gains = rows.filter((_, i) => i % step === 0).flatMap(row => [board.gain_low(row), board.gain_high(row), gainOf(row)]).filter(v => !missing(v)).map(Math.abs).sort((a, b) => a - b);
  // A few very wide intervals must not flatten all others; they are cut at the edge.
  const reach = gains[Math.floor(0.95 * (gains.length - 1))] || 1;
  const flags = [...new Set(rows.map(board.flags))];
  const shared = Object.keys(words.flag).filter(flag => flags.length && flags.every(held => held.includes(flag)));
  // Where one field says another, one of them is enough: the primary scorer of a task stands beside the score.
  const follows = (field, by) => { const seen = new Map(); return rows.every(row => { const key = FIELDS[by].of(row), value = FIELDS[field].of(row); if (!seen.has(key)) seen.set(key, value); return seen.get(key) === value; }); };
  const named = !synthetic && varies("scorer") && follows("scorer", "task");
  const shows = field => !without.includes(field) && varies(field);
  const field = (name, cell, more = {}) => ({ key: name, title: FIELDS[name].title, cell, sort: row => (FIELDS[name].say || String)(FIELDS[name].of(row) ?? ""), ...more });
  const where = name => shows(name) && field(name, row => board[name](row) ?? NOTHING, { wide: true, kind: "where" });
  const columns = [
    !without.includes("method") && field("method", row => [link(label("method", board.method(row)), "method", board.method(row)),
      el("span", { class: "only-narrow small dim" }, placeOf(row, ["dataset", "task", "regime", "plan", "learner", "scorer"].filter(name => !shows(name))))], { kind: "name" }),
    shows("dataset") && field("dataset", row => link(datasetName(board.dataset(row)), "dataset", board.dataset(row)), { wide: !without.includes("method"), kind: "where" }),
    shows("task") && !follows("task", "dataset") && where("task"),
    shows("regime") && { ...where("regime"), sort: row => study.regimes.indexOf(board.regime(row)) },
    where("plan"), where("learner"),
    shows("scorer") && !named && { ...where("scorer"), cell: row => hint(label("scorer", board.scorer(row)), scorerWhy(board.scorer(row))) },
    { key: "value", title: "Score", numeric: true, wide: !synthetic, why: "mean over splits, in the scorer's unit", cell: row => [number(scoreOf(row)), named && [" ", hint(label("scorer", board.scorer(row)), scorerWhy(board.scorer(row)), "dim")]], sort: scoreOf },
    ...(synthetic ? [
      { key: "reference", title: "Real vs real", numeric: true, wide: true, why: "what an independent real sample of the same size scores", cell: row => number(board.reference(row)), sort: row => board.reference(row) },
      { key: "normalised", title: "Normalised", numeric: true, why: "1: as good as an independent real sample; 0: as bad as the declared bad reference", cell: row => number(board.normalised(row)), sort: row => board.normalised(row) },
    ] : [
      { key: "gain", title: "Gain", numeric: true, why: words.legend, cell: row => number(gainOf(row), true), sort: row => (RANKED(row) ? board.gain(row) : null) },
      { key: "gain_low", title: "95 % interval", numeric: true, why: "sorts by its lower end", cell: row => intervalText(row) || NOTHING, sort: row => (RANKED(row) ? board.gain_low(row) : null) },
      { key: "bar", title: el("span", { class: "unseen" }, "Interval as a bar"), cell: row => intervalBar(row, reach), wide: true },
      { key: "verdict", title: "What it shows", cell: verdictCell, sort: row => verdictWord(board.verdict(row)) },
    ]),
    { key: "coverage", title: synthetic ? "Scored" : "Ran", numeric: true, why: "cells with a result, of all that apply", cell: row => el("a", { href: address("job", board.id(row)), title: "The cells of this row" }, synthetic ? `${board.n_estimable(row)}/${board.n_cells(row)}` : ranText(row)), sort: row => (synthetic ? board.n_estimable(row) / board.n_cells(row) : board.coverage(row)) },
    rows.some(row => noted(row, shared).length) && { key: "flags", title: "Notes", cell: row => flagCell(row, shared), sort: row => board.flags(row).filter(flag => !shared.includes(flag)).length || null, first: "down" },
  ].filter(Boolean);
  const constant = ["dataset", "task", "regime", "plan", "learner", "scorer"].filter(name => rows.length && !without.includes(name) && !varies(name) && FIELDS[name].of(rows[0]) !== null)
    .map(name => `${FIELDS[name].title.toLowerCase()} ${(FIELDS[name].say || String)(FIELDS[name].of(rows[0]))}`);
  return { columns, synthetic, shared: shared.map(flag => words.flag[flag]), constant };
}

function scorerWhy(key) {
  const held = known("scorer", key), range = [held.low, held.high].map(value => (missing(value) ? "" : value));
  return [held.summary, missing(held.best) ? (held.higher_is_better ? "Higher is better." : "Lower is better.") : `Best at ${held.best}.`,
    range.some(value => value !== "") ? `Range ${range[0] === "" ? "−∞" : range[0]} to ${range[1] === "" ? "∞" : range[1]}${held.unit ? ` ${held.unit}` : ""}.` : ""].filter(Boolean).join(" ").replace(/^./, letter => letter.toUpperCase());
}

/** Return a table of rows of the leaderboard with a line on what all of them share. */
function boardTable({ caption, rows, state, changed, without, none }) {
  const { columns, synthetic, shared, constant } = boardColumns(rows, without);
  // An order by a column that this table lacks is no order.
  if (!columns.some(col => col.sort && col.key === (state.sort || "").replace("-", ""))) state.sort = synthetic ? "-normalised" : "-gain_low";
  const same = [constant.length ? `All rows: ${constant.join(", ")}.` : "", shared.length ? `All rows are ${shared.join("; ")}.` : ""].filter(Boolean).join(" ");
  return el("div", {}, same && note(same), sortTable({ caption, columns, rows, state, changed, none, aside: row => board.flags(row).includes("control") }));
}

/** The head of the study: its question, facts, and what it cannot say. */
function studyHead() {
  const datasets = Object.values(head.components.dataset), made = datasets.filter(one => one.simulated).length;
  const profile = study.profiles.map(one => [one.key, one.folds && `${one.folds} folds × ${one.repeats}`].filter(Boolean).join(", ")).join("; ");
  const held = study.limits.length > 0 && el("section", { class: "note", "aria-labelledby": "limits" }, el("h2", { id: "limits" }, "What this study cannot say"), el("ul", {}, study.limits.map(text => el("li", {}, text))));
  return [
    el("h1", { tabindex: "-1" }, study.label && study.label.toLowerCase() !== study.name.toLowerCase() ? `${study.label} (${study.name})` : study.label || study.name),
    study.question && el("p", { class: "lead" }, study.question),
    facts([
      ["Datasets", `${datasets.length}${made ? `, ${made} simulated` : ""}`], ["Methods", Object.keys(head.components.method).length],
      ["Profile", profile], ["Records", study.records.toLocaleString("en")], ["Cells", study.cells.toLocaleString("en")],
      ["Failed cells count as", study.impute === "worst" ? "the worst score there" : "none (no augmentation)"],
      ["Code revision", study.git.map(one => el("code", {}, one.slice(0, 13), " "))],
      ["Data", el("a", { href: address("about") }, plural(new Set(datasets.map(one => one.hash)).size, "content hash", "content hashes"))],
    ]),
    held,
  ];
}

/** The first page. */
function leaderboardView(_, state) {
  const place = el("div"), keep = () => remember("leaderboard", state);
  const draw = () => {
    const rows = select(state);
    place.replaceChildren(boardTable({ caption: "Leaderboard", rows, state, changed: keep, none: empty("No row fits these filters.", note("Reset takes all of them back.")) }));
    return rows.length;
  };
  const bar = board.rows ? filterBar(FILTERS, state, () => { const n = draw(); announce(`${plural(n, "row")} shown.`); keep(); }) : null;
  draw();
  return {
    title: "Leaderboard",
    body: [...studyHead(), el("h2", {}, "Leaderboard"), note(words.legend, " Sorted by the lower end of the interval; what leaks, did not run or added nothing comes last, and so does what too few cells show."),
      bar, board.rows ? place : empty("There is nothing to show: no cell has left a score.")],
  };
}
