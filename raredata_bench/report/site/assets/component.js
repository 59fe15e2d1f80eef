// Methods and datasets: a list of each, and a page for every one.

// What rows are counted by: every word of "What it shows" is in one of them, and the explanation of a heading names them.
const SIDES = [
  ["up", "Better", ["better", "above"], false], ["open", "Undecided", ["undecided", "covers"], false], ["even", "Equivalent", ["equivalent"], true],
  ["down", "Worse", ["worse", "below"], false], ["still", "As none", ["idle", "same"], false], ["leak", "Leak suspected", ["leak"], true], ["rest", "Not judged", ["thin", "none", "absent"], true],
];
const SIDE = Object.fromEntries(SIDES.flatMap(([side, , keys]) => keys.map(key => [key, side])));

/** Count the rows by what they show, and their cells. */
function tally(rows) {
  const out = { ...Object.fromEntries(SIDES.map(([side]) => [side, 0])), cells: 0, ran: 0 };
  for (const row of rows) {
    if (!board.baseline(row)) out[SIDE[board.verdict(row)] || "rest"]++;
    out.cells += board.n_cells(row);
    out.ran += board.coverage(row) * board.n_cells(row);
  }
  out.ran = Math.round(out.ran);
  return out;
}

const mainRows = test => select({}).filter(test);

/** Return what the columns of a count are called and mean here, without those that are 0 for every method. */
function sidesOf(rows) {
  const here = new Set(mainRows(() => true).map(board.verdict)), tests = ["better", "undecided", "equivalent", "worse"], intervals = ["above", "covers", "below"];
  // Where nothing was tested there are words for intervals alone.
  const usual = tests.some(key => here.has(key)) ? tests : intervals;
  return SIDES.map(([side, title, keys, wide]) => {
    const told = keys.filter(key => here.has(key) || usual.includes(key) || !(tests.includes(key) || intervals.includes(key))).map(verdictWord);
    // Of one word only, the heading is that word, as it stands in the table of the leaderboard.
    return [side, told.length === 1 ? told[0].replace(/^./, letter => letter.toUpperCase()) : title, `rows of the leaderboard that show: ${told.join(", ")}`, wide];
  }).filter(([side, , , wide]) => !wide || rows.some(one => one[side] > 0));
}

/** All methods, each with how its intervals lie. */
function methodsView(_, state) {
  const by = new Map(Object.keys(head.components.method).map(key => [key, []]));
  for (const row of mainRows(() => true)) if (by.has(board.method(row))) by.get(board.method(row)).push(row);
  const rows = [...by].map(([key, found]) => ({ key, held: known("method", key), ...tally(found), n: found.length, baseline: found.some(board.baseline) }));
  const count = (key, title, why) => ({ key, title, why, numeric: true, cell: one => (one.baseline ? NOTHING : one[key]), sort: one => (one.baseline ? null : one[key]) });
  const columns = [
    { key: "label", title: "Method", kind: "name", cell: one => link(label("method", one.key), "method", one.key), sort: one => label("method", one.key) },
    { key: "family", title: "Family", wide: true, cell: one => one.held.family || NOTHING, sort: one => one.held.family || "" },
    { key: "review_family", title: "Review family", wide: true, cell: one => one.held.review_family || NOTHING, sort: one => one.held.review_family || "" },
    ...sidesOf(rows).map(([side, title, why, wide]) => ({ ...count(side, title, why), wide })),
    { key: "cells", title: "Cells ran", numeric: true, cell: one => `${one.ran}/${one.cells}`, sort: one => (one.cells ? one.ran / one.cells : null) },
  ];
  state.sort = state.sort || "label";
  return { title: "Methods", body: [el("h1", { tabindex: "-1" }, "Methods"),
    note("Counted are rows of the leaderboard under each task's primary scorer, one for every dataset, regime, plan and learner. They share patients, so that a count is no test."),
    sortTable({ caption: "Methods", columns, rows, state, changed: () => remember("methods", state), aside: one => one.held.family === "control" })] };
}

/** All datasets, each with its sizes and what doing nothing scores there. */
function datasetsView(_, state) {
  const rows = Object.entries(head.components.dataset).map(([key, held]) => ({ key, held }));
  const size = (key, title) => ({ key, title, numeric: true, wide: key !== "n_subjects", cell: one => (missing(one.held[key]) ? NOTHING : one.held[key].toLocaleString("en")), sort: one => one.held[key] ?? null });
  const columns = [
    { key: "label", title: "Dataset", kind: "name", cell: one => [link(datasetName(one.key), "dataset", one.key), one.held.label && one.held.label !== one.key && el("div", { class: "small dim" }, one.held.label)], sort: one => one.key },
    { key: "modality", title: "Modality", cell: one => one.held.modality || NOTHING, sort: one => one.held.modality || "" },
    { key: "disease", title: "Disease", wide: true, kind: "where", cell: one => one.held.disease || NOTHING, sort: one => one.held.disease || "" },
    size("n_subjects", "Subjects"), size("n_rows", "Rows"), size("n_columns", "Columns"),
    { key: "licence", title: "Licence", wide: true, kind: "where", cell: one => one.held.licence || NOTHING, sort: one => one.held.licence || "" },
    { key: "hash", title: "Content hash", wide: true, cell: one => el("code", {}, one.held.hash || NOTHING) },
  ];
  state.sort = state.sort || "label";
  return { title: "Datasets", body: [el("h1", { tabindex: "-1" }, "Datasets"), sortTable({ caption: "Datasets", columns, rows, state, changed: () => remember("datasets", state) })] };
}

const doi = text => text && outside(text, `https://doi.org/${encodeURI(text)}`);
const listed = value => (Array.isArray(value) ? value.join(", ") : value);
const source = text => (/^https?:\/\/\S+$/.test(text || "") ? outside(text, text) : text);

/** Return the rows of synthetic scores, by axis, each axis a table that opens. */
function syntheticSection(rows, view, key, without) {
  const axes = [...new Set(rows.map(board.axis))].sort(compare).filter(axis => axis !== "cost");
  if (!axes.length) return [];
  return [el("h2", {}, "Scores of the synthetic rows, by axis"),
    note("Normalised: 1 is as good as an independent real sample of the same size, 0 as bad as the declared bad reference. ", study.limits[study.limits.length - 1]),
    axes.map(axis => {
      const found = rows.filter(row => board.axis(row) === axis);
      const box = el("details", { ontoggle: () => { if (box.open && box.childElementCount === 1) box.append(boardTable({ caption: `${axis} of synthetic rows`, rows: found, state: {}, without })); } },
        el("summary", {}, `${axis[0].toUpperCase()}${axis.slice(1)}: ${plural(found.length, "score")} of ${plural(new Set(found.map(board.scorer)).size, "scorer")}`));
      return box;
    })];
}

/** Return what does not apply, as a table. */
function incompatibleSection(test, title) {
  const rows = codedRows(head.incompatible).filter(test);
  if (!rows.length) return [];
  const where = one => AXES.filter(axis => axis !== title && one[axis]).map(axis => one[axis]).join(" · ");
  const by = new Map();
  rows.forEach(one => by.set(one.reason, [...(by.get(one.reason) || []), where(one)]));
  return [el("h2", {}, "What does not apply"), plainTable("Not run, because it cannot apply", [["Reason", false], ["Places", true], ["For example", false]],
    [...by].sort((a, b) => b[1].length - a[1].length).slice(0, 50).map(([reason, places]) => [reason, places.length, places[0]]))];
}

/** Return the cells that brought no score, with their reasons; asks for the cells. */
function failureSection(test) {
  const place = el("div", {}, el("p", { class: "dim" }, "Reading the cells …"));
  details().then(found => {
    const by = new Map();
    found.cells.id.forEach((id, i) => {
      const job = found.jobOf[i], status = found.said(i, "status");
      if (!test(found, job) || HARMLESS.includes(status)) return;
      const key = `${status}\n${found.said(i, "reason")}`;
      by.set(key, [...(by.get(key) || []), i]);
    });
    const rows = [...by].sort((a, b) => b[1].length - a[1].length).slice(0, 50);
    place.replaceChildren(rows.length ? plainTable("Failures and warnings", [["Status", false], ["Reason", false], ["Cells", true], ["First of them", false]],
      rows.map(([key, cells]) => { const [status, reason] = key.split("\n"); return [hint(status, statusWhy(status), "bad"), reason || NOTHING, cells.length, link("open the cell", "cell", found.cells.id[cells[0]])]; }))
      : el("p", {}, "None: every cell ran as asked."));
  }).catch(error => place.replaceChildren(el("p", { class: "bad" }, error.message)));
  return [el("h2", {}, "Failures and warnings"), place];
}
const HARMLESS = ["ok", "noop"];

/** Return a small picture in words of where a method ran: dataset by regime. */
function coverageTable(rows) {
  const datasets = [...new Set(rows.map(board.dataset))].sort(compare), regimes = study.regimes.filter(name => rows.some(row => board.regime(row) === name));
  const at = new Map();
  rows.forEach(row => { const key = `${board.dataset(row)}\n${board.regime(row)}`; at.set(key, [...(at.get(key) || []), row]); });
  return plainTable("Where it ran: cells with a result, of all that apply", [["Dataset", false], ...regimes.map(name => [name, true])],
    datasets.map(dataset => [link(datasetName(dataset), "dataset", dataset), ...regimes.map(regime => {
      const found = at.get(`${dataset}\n${regime}`);
      if (!found) return NOTHING;
      const count = tally(found), card = cardOf(dataset, board.task(found[0]), regime, board.method(found[0]));
      return [el("span", { class: count.ran < count.cells ? "bad" : null }, `${count.ran}/${count.cells}`), card && [" ", el("a", { href: card, "aria-label": `Reporting card, ${dataset}, ${regime}` }, "card")]];
    })]));
}

/** The page of a method. */
function methodView([key], state) {
  const held = head.components.method[key];
  if (!held) return unknownView("method", key);
  const all = Array.from({ length: board.rows }, (_, row) => row).filter(row => board.method(row) === key);
  const main = all.filter(row => board.primary(row) && board.learnt(row)), others = Object.keys(head.components.method).filter(one => one !== key && one !== study.baseline.method);
  const gains = [...main].sort((a, b) => compare(board.dataset(a), board.dataset(b)) || study.regimes.indexOf(board.regime(a)) - study.regimes.indexOf(board.regime(b)) || compare(board.learner(a), board.learner(b)));
  const baseline = key === study.baseline.method;
  return { title: label("method", key), body: [
    el("p", { class: "crumbs" }, link("Methods", "methods"), " / ", key),
    el("h1", { tabindex: "-1" }, label("method", key), " ", held.family === "control" && el("span", { class: "tag" }, "control method")),
    held.summary && el("p", { class: "lead" }, held.summary[0].toUpperCase() + held.summary.slice(1), "."),
    facts([["Key", el("code", {}, key)], ["Family", held.family], ["Review family", held.review_family], ["Kind", held.kind], ["Modalities", listed(held.modalities)], ["Outcomes", listed(held.targets)],
      ["Least rows, advised rows", held.n_min && `${held.n_min}, ${held.n_soft || held.n_min}`], ["Most columns", held.p_max], ["Interpretability", held.interpretability], ["Handed on purpose", held.sees], ["Licence", held.licence], ["Source", doi(held.doi)]]),
    others.length > 0 && !baseline && el("p", { class: "no-print" }, link(`Compare ${label("method", key)} with another method`, "compare", key, others[0])),
    el("h2", {}, "Where it ran"), main.length ? coverageTable(main) : empty("It was trained nowhere under a primary scorer."),
    baseline ? note("Every gain is measured from this method: it has none of its own.") : [el("h2", {}, "Gains"), forest({ rows: gains, title: `Gains of ${label("method", key)}`, said: "Each line is a dataset, regime, plan and learner under the task's primary scorer.", name: row => placeOf(row, ["scorer", "task"]) })],
    boardTable({ caption: `${label("method", key)} under primary scorers`, rows: main, state, changed: () => remember(address("method", key).slice(2), state), without: ["method"], none: empty("No row.") }),
    syntheticSection(all.filter(row => !board.learnt(row)), "method", key, ["method"]),
    failureSection((found, job) => found.axis(job, "method") === key),
    incompatibleSection(one => one.method === key, "method"),
  ] };
}

/** The page of a dataset. */
function datasetView([key], state) {
  const held = head.components.dataset[key];
  if (!held) return unknownView("dataset", key);
  const all = Array.from({ length: board.rows }, (_, row) => row).filter(row => board.dataset(row) === key);
  const main = all.filter(row => board.primary(row) && board.learnt(row)), base = main.filter(board.baseline);
  return { title: datasetName(key), body: [
    el("p", { class: "crumbs" }, link("Datasets", "datasets"), " / ", key),
    el("h1", { tabindex: "-1" }, held.label && held.label !== key ? `${held.label} (${key})` : key, " ", held.simulated && el("span", { class: "tag" }, "simulated")),
    held.summary && el("p", { class: "lead" }, held.summary[0].toUpperCase() + held.summary.slice(1), "."),
    held.simulated && el("p", { class: "note" }, "Simulated: no patient stands behind any number on this page."),
    held.private && el("p", { class: "note" }, "Private data: this site holds scores and counts of it, no row, no path, and no message of foreign code that might quote one."),
    facts([["Modality", held.modality], ["Disease", held.disease], ["ORPHA code", held.orpha], ["Subjects with an outcome here", held.n_subjects], ["Rows", held.n_rows], ["Columns", held.n_columns], ["Tasks", listed(held.tasks)],
      ["Horizon", held.horizon_days && `${held.horizon_days} days`], ["Licence", held.licence], ["Source", source(held.source)], ["Publication", doi(held.doi)], ["Content hash", el("code", {}, held.hash)]]),
    el("h2", {}, "Baseline"), note("What doing nothing scores: the mean over splits, from which every gain is measured."),
    base.length ? baselineTable(base) : empty("There is no result of none here, and therefore no gain."),
    el("h2", {}, "Methods"), forest({ rows: [...main].sort((a, b) => RANKED(b) - RANKED(a) || (board.gain_low(b) ?? -9e9) - (board.gain_low(a) ?? -9e9)), title: `Gains on ${key}`, said: "Sorted by the lower end of the interval; suspected leaks last.", name: row => `${label("method", board.method(row))} · ${placeOf(row, ["dataset", "scorer", "task"])}` }),
    boardTable({ caption: `Methods on ${key} under primary scorers`, rows: main, state, changed: () => remember(address("dataset", key).slice(2), state), without: ["dataset"], none: empty("No row.") }),
    syntheticSection(all.filter(row => !board.learnt(row)), "dataset", key, ["dataset"]),
    failureSection((found, job) => found.axis(job, "dataset") === key),
    incompatibleSection(one => one.dataset === key, "dataset"),
  ] };
}

function baselineTable(rows) {
  const learners = [...new Set(rows.map(board.learner))].sort(compare), at = new Map(), places = new Map();
  rows.forEach(row => { const place = [board.task(row), board.scorer(row), board.regime(row)]; places.set(place.join("\n"), place); at.set([...place, board.learner(row)].join("\n"), row); });
  return plainTable("Scores of none", [["Regime", false], ["Task", false], ["Scorer", false], ...learners.map(name => [label("learner", name), true])],
    [...places.values()].map(place => [place[2], label("task", place[0]), label("scorer", place[1]), ...learners.map(name => { const row = at.get([...place, name].join("\n")); return row === undefined ? NOTHING : el("a", { href: address("job", board.id(row)) }, number(board.value(row))); })]));
}

function unknownView(kind, key) {
  return { title: `No ${kind}`, body: [el("h1", { tabindex: "-1" }, `There is no ${kind} ${key || ""} in this study`), el("p", {}, "The address may be of another study, or of an earlier run of this one: ids change with the code and the data. ", link("To the leaderboard", "leaderboard"))] };
}
