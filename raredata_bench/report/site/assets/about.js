// What the numbers are, where they come from, and tables that others made.

/** The list of further tables: statistics across datasets, fairness by subgroup. */
function statisticsView() {
  return { title: "Statistics", body: [el("h1", { tabindex: "-1" }, "Statistics"),
    head.notes.length > 0 && el("section", { class: "note", "aria-labelledby": "notes" }, el("h2", { id: "notes" }, "What was left out, and why"), el("ul", {}, head.notes.map(text => el("li", {}, text)))),
    head.sheets.map(sheet => [el("h2", {}, link(sheet.title, "sheet", sheet.key)), el("p", {}, sheet.note, " ", plural(sheet.rows.length, "row"), ".")]),
    !head.sheets.length && empty("No table could be computed.")] };
}

/** A table that was handed in as it is. */
function sheetView([key], state) {
  const sheet = head.sheets.find(one => one.key === key);
  if (!sheet) return unknownView("table", key);
  const numeric = sheet.columns.map((_, i) => sheet.rows.some(row => typeof row[i] === "number"));
  const signed = sheet.columns.map(name => /^(mean_|median_|worst_)?gain|^effect|^extra|^delta|^new_|^boot_/.test(name));
  const say = (value, i) => (missing(value) ? NOTHING : numeric[i] && typeof value === "number" ? (Number.isInteger(value) && !signed[i] ? String(value) : number(value, signed[i])) : ["dataset", "method"].includes(sheet.columns[i]) && head.components[sheet.columns[i]][value] ? link(sheet.columns[i] === "dataset" ? datasetName(value) : label("method", value), sheet.columns[i], value) : String(value));
  return { title: sheet.title, body: [el("p", { class: "crumbs" }, link("Statistics", "statistics"), " / ", sheet.title), el("h1", { tabindex: "-1" }, sheet.title), sheet.note && el("p", {}, sheet.note),
    sortTable({ caption: sheet.title, rows: sheet.rows, state, changed: () => remember(address("sheet", key).slice(2), state), none: empty("This table is empty."),
      columns: sheet.columns.map((name, i) => ({ key: name, title: name.replace(/_/g, " "), numeric: numeric[i], kind: i ? null : "name", cell: row => say(row[i], i), sort: row => (typeof row[i] === "boolean" ? String(row[i]) : row[i]) })) })] };
}

function aboutView() {
  const scorers = Object.entries(head.components.scorer), axes = [...new Set(scorers.map(([, one]) => one.family || "other"))].sort(compare);
  const card = (title, ...more) => [el("h2", {}, title), ...more];
  const key = (pairs, caption, heads) => plainTable(caption, heads.map(name => [name, false]), pairs);
  return { title: "About", body: [
    el("h1", { tabindex: "-1" }, "How to read this site"),
    el("p", {}, "A cohort, asked a task, cut to a regime, is augmented by a method under a plan, learnt by a learner and judged by scorers; each such cell leaves one record. This site shows the records of one study. It holds scores and counts: no row of any cohort and no identifier of a subject, and it asks for nothing from a network."),
    el("p", {}, words.legend, " A failed cell counts as ", study.impute === "worst" ? "the worst score of any method on its split" : "what it amounts to in practice, none", ", and its row says so."),
    ...card("What a row can show", key(Object.values(words.verdict).filter(([word]) => word), "Verdicts", ["In the table", "Meaning"])),
    ...card("How a cell can end", key(Object.entries(words.status).map(([name, why]) => [el("code", {}, name), why]), "Statuses", ["Status", "Meaning"])),
    ...card("Data", plainTable("Content of the data", [["Dataset", false], ["Content hash", false], ["Subjects", true]], Object.entries(head.components.dataset).map(([name, one]) => [link(datasetName(name), "dataset", name), el("code", {}, one.hash || NOTHING), one.n_subjects ?? NOTHING]))),
    ...card("Scorers", axes.map(axis => el("details", {}, el("summary", {}, `${axis[0].toUpperCase()}${axis.slice(1)}`),
      key(scorers.filter(([, one]) => (one.family || "other") === axis).map(([name, one]) => [one.label, el("code", {}, name), scorerWhy(name), one.doi ? doi(one.doi) : NOTHING]), `Scorers of ${axis}`, ["Scorer", "Key", "Meaning", "Source"])))),
    head.beside.files.length > 0 && card("Files beside this site", note("They lie beside the folder of the site; keep the folder of the study together."), el("ul", {}, head.beside.files.map(([href, name]) => el("li", {}, el("a", { href }, name))))),
    ...card("Made with", el("p", {}, `raredata-bench ${study.versions["raredata-bench"]} (Apache-2.0). Figures that answer the pointer: plotly.js, copyright Plotly, Inc., MIT licence, as shipped with plotly ${study.versions.plotly}; its licence stands at the head of plotly.min.js.`)),
  ] };
}
