// Cells: the list of all, the page of a job (all its splits) and the page of one cell.

const CELL_FIELDS = ["dataset", "task", "regime", "method", "plan", "learner"];

/** Return the columns of a table of cells. */
function cellColumns(found, without = []) {
  const { cells, jobOf, axis, said } = found;
  const field = name => !without.includes(name) && { key: name, title: FIELDS[name].title, wide: !["method", "dataset"].includes(name), kind: "where",
    cell: i => (name === "dataset" ? datasetName(axis(jobOf[i], name)) : name === "method" ? label("method", axis(jobOf[i], name)) : axis(jobOf[i], name) ?? "synthetic rows"), sort: i => axis(jobOf[i], name) ?? "" };
  return [
    { key: "id", title: "Cell", cell: i => el("a", { href: address("cell", cells.id[i]) }, el("code", {}, cells.id[i].slice(0, 10))), sort: i => cells.id[i] },
    ...CELL_FIELDS.map(field),
    { key: "split", title: "Repeat, fold", numeric: true, cell: i => `${cells.repeat[i]}, ${cells.fold[i]}`, sort: i => cells.repeat[i] * 1000 + cells.fold[i] },
    { key: "status", title: "Status", cell: i => hint(said(i, "status"), statusWhy(said(i, "status")), BAD.has(said(i, "status")) ? "bad" : said(i, "status") === "leak_suspected" ? "leak" : ""), sort: i => said(i, "status") },
    { key: "reason", title: "Reason", wide: true, kind: "name", cell: i => said(i, "reason") || NOTHING, sort: i => said(i, "reason") || null },
  ].filter(Boolean);
}
const BAD = new Set(["cannot_fit", "invalid_rows", "nonfinite", "timeout", "out_of_memory", "crashed", "error"]);

/** Wait for the cells, then draw; says what is wrong where they cannot be read. */
function withDetails(title, heading, draw) {
  const place = el("div", {}, el("p", { class: "waiting" }, "Reading the cells …"));
  const h1 = el("h1", { tabindex: "-1" }, heading), above = el("div");
  details().then(found => place.replaceChildren(...[draw(found, h1, above)].flat(3).filter(Boolean))).catch(error => place.replaceChildren(el("p", { class: "note" }, error.message)));
  return { title, body: [above, h1, place] };
}

/** The list of all cells. */
function cellsView(_, state) {
  return withDetails("Cells", "Cells", found => {
    const count = {};
    found.cells.status.forEach(code => { const status = found.cells.codes.status[code]; count[status] = (count[status] || 0) + 1; });
    const options = Object.keys(count).sort((a, b) => count[b] - count[a]);
    const place = el("div");
    const pick = (name, values, title, say) => el("label", {}, title, el("select", { name, onchange: event => { state[name] = event.target.value || undefined; state.page = 0; announce(`${plural(draw(), "cell")} shown.`); remember("cells", state); } },
      el("option", { value: "" }, "all"), values.map(value => el("option", { value, selected: state[name] === value }, say(value)))));
    const axisValues = name => found.jobs.codes[name].filter(value => value !== null).sort(compare);
    const draw = () => {
      const wanted = CELL_FIELDS.filter(name => state[name]);
      const jobs = found.jobs.id.map((_, job) => wanted.every(name => found.axis(job, name) === state[name]));
      const rows = [];
      for (let i = 0; i < found.cells.id.length; i++) if (jobs[found.jobOf[i]] && (!state.status || found.said(i, "status") === state.status)) rows.push(i);
      place.replaceChildren(sortTable({ caption: "Cells", columns: cellColumns(found), rows, state, changed: () => remember("cells", state), none: empty("No cell fits these filters.") }));
      return rows.length;
    };
    draw();
    return [note("A cell is one split of one job: a dataset, task, regime, method, plan and learner."),
      el("form", { class: "filters no-print", role: "search", "aria-label": "Filter the cells", onsubmit: event => event.preventDefault() },
        pick("status", options, "Status", value => `${value} (${count[value].toLocaleString("en")})`), CELL_FIELDS.map(name => axisValues(name).length > 1 && pick(name, axisValues(name), FIELDS[name].title, FIELDS[name].say || String))),
      place];
  });
}

const axesOf = (found, job) => AXES.map(name => found.axis(job, name));
function crumbs(found, job, cell) {
  const [dataset, task, regime, method, plan, learner] = axesOf(found, job);
  return el("p", { class: "crumbs" }, link(datasetName(dataset), "dataset", dataset), ` / ${task} / ${regime} / `, link(label("method", method), "method", method), ` / ${plan} / ${learner ?? "synthetic rows"}`,
    cell !== undefined && [" / ", link("all splits", "job", found.jobs.id[job])]);
}
const jobTitle = (found, job) => { const [dataset, , regime, method, , learner] = axesOf(found, job); return `${label("method", method)} on ${datasetName(dataset)}, ${regime}, ${learner ?? "synthetic rows"}`; };

/** The page of a job: its gains under every scorer, and its splits. */
function jobView([id], state) {
  return withDetails("Row", "Row", (found, h1, above) => {
    const job = found.byJob.get(id);
    if (job === undefined) { h1.textContent = "There is no such row in this study"; return unknownView("row", id).body.slice(1); }
    h1.textContent = jobTitle(found, job);
    document.title = `${h1.textContent} · ${study.name}`;
    const rows = Array.from({ length: board.rows }, (_, row) => row).filter(row => board.job(row) === job);
    const at = axesOf(found, job), card = cardOf(...at.slice(0, 4));
    above.replaceChildren(crumbs(found, job));
    return [card && el("p", {}, el("a", { href: card }, "Reporting card of this method here")),
      el("h2", {}, "Under every scorer"), boardTable({ caption: "Scorers", rows, state, without: ["method"], none: empty("No cell of it left a score.") }),
      el("h2", {}, "Splits"), sortTable({ caption: "Cells", columns: cellColumns(found, CELL_FIELDS), rows: found.range(job), state: { sort: "split" } }),
      provenance(found, job)];
  });
}

/** The page of one cell. */
function cellView([id]) {
  return withDetails("Cell", "Cell", (found, h1, above) => {
    const i = found.byCell.get(id);
    if (i === undefined) { h1.textContent = "There is no such cell in this study"; return unknownView("cell", id).body.slice(1); }
    const { cells, jobOf, said } = found, job = jobOf[i], status = said(i, "status"), log = said(i, "log");
    h1.textContent = `${jobTitle(found, job)}: repeat ${cells.repeat[i]}, fold ${cells.fold[i]}`;
    document.title = `${h1.textContent} · ${study.name}`;
    const at = axesOf(found, job), card = cardOf(...at.slice(0, 4)), range = found.range(job), near = [["Previous split", i - 1], ["Next split", i + 1]];
    above.replaceChildren(crumbs(found, job, i));
    return [facts([["Status", el("strong", { class: BAD.has(status) ? "bad" : status === "leak_suspected" ? "leak" : "" }, status)], ["Ended in", said(i, "phase")], ["Cell", el("code", {}, id)],
        ...Object.entries(cells.seconds[i]).map(([name, value]) => [name.replace("_seconds", ", seconds").replace("_mib", " memory, MiB"), number(value)])]),
      el("p", {}, statusWhy(status)), said(i, "reason") && el("p", { class: BAD.has(status) ? "note" : "" }, said(i, "reason")[0].toUpperCase() + said(i, "reason").slice(1).replace(/\.$/, ""), "."),
      log && [el("h2", {}, "End of the log"), el("pre", { tabindex: "0", role: "region", "aria-label": "End of the log" }, log)],
      el("h2", {}, "Scores"), scoreTable(found, i), el("h2", {}, "Counts"), countTable(said(i, "counts")),
      card && el("p", {}, el("a", { href: card }, "Reporting card of this method here")), provenance(found, job),
      el("p", { class: "row no-print" }, near.filter(([, k]) => range.includes(k)).map(([text, k]) => link(text, "cell", cells.id[k])))];
  });
}

function scoreTable(found, i) {
  const scorers = found.scorersOf(found.jobOf[i]);
  if (!scorers.length) return empty("This cell left no score.");
  const base = found.base(i), beside = found.cells.beside[i], learnt = base >= 0 && base !== i;
  const rows = scorers.map((key, at) => {
    const value = found.cells.values[i][at], why = found.why(i, at), than = learnt ? found.value(base, key) : null;
    return { key, family: known("scorer", key).family || "other", cells: [hint(label("scorer", key), scorerWhy(key)), known("scorer", key).family || NOTHING,
      missing(value) ? el("span", { class: "dim" }, "not estimable") : number(value),
      ...(beside ? [number(beside[at][0]), number(beside[at][2]), beside[at][3] ?? NOTHING] : learnt ? [number(than), number(better(key, value, than), true)] : []), why || ""] };
  }).sort((a, b) => compare(a.family, b.family) || compare(a.key, b.key));
  const columns = [["Scorer", false], ["Axis", false], ["Score", true], ...(beside ? [["Real vs real", true], ["Bad reference", true], ["Rows each side", true]] : learnt ? [["none, same split", true], ["Better by", true]] : []), ["Why not", false]];
  const told = rows.some(row => row.cells.at(-1));
  return plainTable("Scores of this cell", told ? columns : columns.slice(0, -1), rows.map(row => (told ? row.cells : row.cells.slice(0, -1))));
}

function countTable(counts) {
  const kinds = Object.keys(counts);
  if (!kinds.length) return empty("No counts: it ended before rows were counted.");
  const strata = [...new Set(kinds.flatMap(kind => Object.keys(counts[kind])))];
  return plainTable("Rows by class or stratum, in this split", [["Count", false], ...strata.map(name => [name, true])],
    kinds.map(kind => [kind[0].toUpperCase() + kind.slice(1), ...strata.map(name => { const value = counts[kind][name]; return missing(value) ? NOTHING : Number.isInteger(value) ? value.toLocaleString("en") : number(value); })]));
}

/** Where it comes from: configuration, versions, file. */
function provenance(found, job) {
  const config = Object.fromEntries(found.jobs.config[job].map(code => found.jobs.codes.parts[code]));
  return [el("h2", {}, "Where it comes from"), note("Record ", el("code", {}, found.jobs.file[job]), " in the folder of the study."),
    [["Configuration", config], ["Versions and hardware", found.jobs.codes.environment[found.jobs.environment[job]]]].map(([title, held]) =>
      el("details", {}, el("summary", {}, title), el("pre", { tabindex: "0", role: "region", "aria-label": title }, JSON.stringify(held, null, 1))))];
}
