// The data: columns of the leaderboard at once; jobs and cells when a page asks for them.

const head = data.head, study = head.study, words = head.words;
const AXES = ["dataset", "task", "regime", "method", "plan", "learner"];
const PRIMARY = "primary", ALL = "";

/** Return a coded column as a function of the row. */
const column = held => row => held.values[held.at[row]];

const board = (() => {
  const raw = data.board, get = {};
  for (const [name, held] of Object.entries(raw.axes)) get[name] = column(held);
  for (const [name, held] of [...Object.entries(raw.numbers), ...Object.entries(raw.whole)]) get[name] = row => held[row];
  for (const name of ["axis", "statuses", "flags", "verdict", "why"]) get[name] = column(raw[name]);
  get.primary = row => raw.primary[row] === 1;
  get.better = row => raw.better[row] === 1;
  get.learnt = row => get.learner(row) !== null;
  get.job = row => raw.job[row];
  get.id = row => raw.ids[raw.job[row]];
  get.baseline = row => get.verdict(row) === "baseline";
  return { rows: raw.rows, raw, ...get };
})();

const known = (group, key) => head.components[group][key] || { label: key };
const labels = new Map();

/** Return the name of a component for people; the key is added where two share a label. */
function label(group, key) {
  if (key === null || key === undefined) return NOTHING;
  if (!labels.has(group)) {
    const count = {};
    for (const held of Object.values(head.components[group])) count[held.label] = (count[held.label] || 0) + 1;
    labels.set(group, count);
  }
  const held = known(group, key);
  return labels.get(group)[held.label] > 1 ? `${held.label} (${held.key || key})` : held.label;
}

/** A dataset goes by the name under which it was run, for files of one name may differ; one without patients says so. */
const datasetName = key => (known("dataset", key).simulated ? `${key} (simulated)` : key);
const modality = row => known("dataset", board.dataset(row)).modality || "unknown";

const FIELDS = {
  dataset: { title: "Dataset", of: row => board.dataset(row), say: datasetName },
  modality: { title: "Modality", of: modality },
  task: { title: "Task", of: row => board.task(row), say: key => label("task", key) },
  regime: { title: "Regime", of: row => board.regime(row) },
  family: { title: "Method family", of: row => board.family(row) },
  method: { title: "Method", of: row => board.method(row), say: key => label("method", key) },
  plan: { title: "Plan", of: row => board.plan(row) },
  learner: { title: "Learner", of: row => board.learner(row), say: key => label("learner", key) },
  axis: { title: "Axis", of: row => board.axis(row) },
  scorer: { title: "Scorer", of: row => board.scorer(row), say: key => label("scorer", key) },
};

/** Return the values of a field that occur, in the order in which people read them. */
function valuesOf(field) {
  const found = [...new Set(Array.from({ length: board.rows }, (_, row) => FIELDS[field].of(row)))].filter(v => v !== null);
  if (field === "regime") return study.regimes.filter(name => found.includes(name));
  const say = FIELDS[field].say || String;
  return found.sort((a, b) => compare(say(a), say(b)));
}

/** Return the rows of the leaderboard that a state of the filters lets through. */
function select(state) {
  const tests = [];
  for (const [field, { of }] of Object.entries(FIELDS)) {
    const wanted = state[field];
    if (field === "scorer" && (wanted === PRIMARY || (wanted === undefined && !state.axis))) tests.push(row => board.primary(row) && board.learnt(row));
    else if (wanted && !(field === "scorer" && wanted === "every")) tests.push(row => of(row) === wanted);
  }
  if (state.patients) tests.push(row => board.flags(row).includes("simulated") === (state.patients === "simulated"));
  if (state.show === "methods") tests.push(row => !board.flags(row).includes("control"));
  if (state.show === "problems") tests.push(row => board.flags(row).some(flag => flag === "partial" || flag === "leak"));
  const text = (state.q || "").trim().toLowerCase();
  if (text) {
    const memo = new Map();
    tests.push(row => {
      const parts = [["method", board.method(row)], ["dataset", board.dataset(row)]];
      return text.split(/\s+/).every(word => parts.some(([group, key]) => {
        const at = `${group}/${key}`;
        if (!memo.has(at)) memo.set(at, `${key} ${label(group, key)}`.toLowerCase());
        return memo.get(at).includes(word);
      }));
    });
  }
  const out = [];
  for (let row = 0; row < board.rows; row++) if (tests.every(test => test(row))) out.push(row);
  return out;
}

/** The gain of a row; none for the baseline itself, nor for what did not run: that is no gain of zero. */
const gainOf = row => (board.baseline(row) || board.verdict(row) === "absent" ? null : board.gain(row));
const verdictWord = key => (words.verdict[key] ? words.verdict[key][0] : key);
const verdictWhy = row => board.why(row) || (words.verdict[board.verdict(row)] || ["", ""])[1];
const statusWhy = status => words.status[status] || "";
const cardOf = (() => {
  const held = new Map(head.cards.map(([dataset, task, regime, method, href]) => [[dataset, task, regime, method].join("\n"), href]));
  return (dataset, task, regime, method) => held.get([dataset, task, regime, method].join("\n"));
})();

/** Return rows of a coded table of {column: {values, at}}. */
function codedRows(table) {
  const names = Object.keys(table);
  return names.length ? table[names[0]].at.map((_, i) => Object.fromEntries(names.map(name => [name, column(table[name])(i)]))) : [];
}

/** Load a script that lies beside the page, once. */
const loads = new Map();
function load(file) {
  if (!loads.has(file)) {
    loads.set(file, new Promise((done, failed) => {
      document.head.append(el("script", {
        src: file, onload: () => done(),
        onerror: () => { loads.delete(file); failed(new Error(`${file} should lie beside index.html and cannot be read. Keep the files of the site together.`)); },
      }));
    }));
  }
  return loads.get(file);
}

/** Return jobs and cells with what finds them: `cell(i)` as an object, positions by id, cells of a job. */
let detail = null;
async function details() {
  if (detail) return detail;
  await load("cells.js");
  const jobs = data.jobs, cells = data.cells, starts = [], jobOf = [], byJob = new Map(), byCell = new Map(), byAxes = new Map();
  jobs.id.forEach((id, job) => {
    starts.push(jobOf.length);
    byJob.set(id, job);
    byAxes.set(AXES.map(axis => jobs.codes[axis][jobs[axis][job]]).join("\n"), job);
    for (let k = 0; k < jobs.n[job]; k++) jobOf.push(job);
  });
  cells.id.forEach((id, i) => byCell.set(id, i));
  const axis = (job, name) => jobs.codes[name][jobs[name][job]];
  const said = (i, name) => cells.codes[name][cells[name][i]];
  const scorersOf = job => jobs.codes.scorers[jobs.scorers[job]];
  detail = {
    jobs, cells, jobOf, byJob, byCell, axis, said, scorersOf,
    range: job => Array.from({ length: jobs.n[job] }, (_, k) => starts[job] + k),
    value: (i, scorer) => { const at = scorersOf(jobOf[i]).indexOf(scorer); return at < 0 ? null : cells.values[i][at]; },
    why: (i, at) => (cells.whys[i] ? cells.codes.why[cells.whys[i][at]] : ""),
    job: axes => byAxes.get(axes.join("\n")),
    /** The cell of none on the same split, or -1. */
    base: i => {
      const job = jobOf[i], { method, plan } = study.baseline;
      const at = byAxes.get([axis(job, "dataset"), axis(job, "task"), axis(job, "regime"), method, plan, axis(job, "learner")].join("\n"));
      if (at === undefined) return -1;
      return detail.range(at).find(k => cells.repeat[k] === cells.repeat[i] && cells.fold[k] === cells.fold[i]) ?? -1;
    },
  };
  return detail;
}

/** Return by how much one value is better than another for a scorer, as the leaderboard counts it. */
function better(scorer, value, than) {
  if (missing(value) || missing(than)) return null;
  const { best, higher_is_better: higher } = known("scorer", scorer);
  if (!missing(best)) return Math.abs(than - best) - Math.abs(value - best);
  return higher ? value - than : than - value;
}
