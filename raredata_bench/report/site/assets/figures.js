// The page of figures: gains, learning curves, what a gain costs, and methods by datasets.

/** Return a bar of choices whose first value is taken where none is given. */
function choiceBar(fields, state, changed) {
  return el("form", { class: "filters no-print", "aria-label": "What the figures show", onsubmit: event => event.preventDefault() }, fields.map(({ name, title, options }) => {
    if (!options.some(([value]) => value === state[name])) state[name] = options.length ? options[0][0] : undefined;
    return el("label", {}, title, el("select", { name, onchange: event => { state[name] = event.target.value; changed(name); } }, options.map(([value, text]) => el("option", { value, selected: value === state[name] }, text))));
  }));
}

function figuresView(_, state) {
  const place = el("div"), keep = () => remember("figures", state);
  const learnt = Array.from({ length: board.rows }, (_, row) => row).filter(board.learnt);
  const title = el("h1", { tabindex: "-1" }, "Figures");
  if (!learnt.length) return { title: "Figures", body: [title, empty("There is nothing to draw: no learner was trained."), drawnSection()] };
  const distinct = (rows, of) => [...new Set(rows.map(of))];
  const draw = (focus) => {
    const of = { place: row => `${board.dataset(row)} ${board.task(row)}` };
    const places = distinct(learnt, of.place).sort(compare).map(key => [key, key.split(" ").map((part, i) => (i ? part : datasetName(part))).join(", ")]);
    const here = rows => rows.filter(row => of.place(row) === state.place);
    const moved = key => learnt.filter(row => of.place(row) === key && board.primary(row) && board.gain(row)).length;
    if (!places.some(([key]) => key === state.place)) state.place = [...places].sort(([x], [y]) => moved(y) - moved(x))[0][0];
    const local = here(learnt), primary = local.find(board.primary), first = primary === undefined ? local[0] : primary;
    const scorers = distinct(local, board.scorer).sort((x, y) => (y === board.scorer(first)) - (x === board.scorer(first)) || compare(label("scorer", x), label("scorer", y)));
    const plans = distinct(local.filter(row => !board.baseline(row)), board.plan).sort((x, y) => (x === study.baseline.plan) - (y === study.baseline.plan) || compare(x, y));
    const against = distinct(Array.from({ length: board.rows }, (_, row) => row).filter(row => !board.learnt(row) && of.place(row) === state.place && (board.axis(row) !== "cost")), board.scorer);
    const costs = distinct(local, board.scorer).filter(key => known("scorer", key).family === "cost");
    const axisOf = key => known("scorer", key).family || "";
    // The first look is at a plan and a regime in which something happened.
    const regimes = study.regimes.filter(name => local.some(row => board.regime(row) === name));
    if (!regimes.includes(state.regime)) state.regime = regimes.find(name => local.some(row => board.regime(row) === name && board.gain(row)));
    if (!plans.includes(state.plan)) state.plan = busyPlan(local.filter(row => board.regime(row) === state.regime), plans);
    if (![...against, ...costs].includes(state.against)) state.against = fullest(against, state);
    const bar = choiceBar([
      { name: "place", title: "Dataset and task", options: places },
      { name: "scorer", title: "Scorer", options: scorers.filter(key => axisOf(key) !== "cost").map(key => [key, label("scorer", key)]) },
      { name: "learner", title: "Learner", options: distinct(local, board.learner).sort(compare).map(key => [key, label("learner", key)]) },
      { name: "plan", title: "Plan", options: plans.map(key => [key, key]) },
      { name: "regime", title: "Regime", options: regimes.map(key => [key, key]) },
      { name: "against", title: "Against", options: [...against.sort((x, y) => compare(axisOf(x), axisOf(y)) || compare(x, y)), ...costs].map(key => [key, `${axisOf(key)}: ${label("scorer", key)}`]) },
    ], state, name => { draw(name); keep(); announce("The figures were drawn again."); });
    const planned = row => board.plan(row) === state.plan || board.plan(row) === study.baseline.plan;
    const chosen = learnt.filter(row => board.scorer(row) === state.scorer && board.learner(row) === state.learner && planned(row));
    const at = here(chosen), now = at.filter(row => board.regime(row) === state.regime).sort((x, y) => (board.gain(y) ?? -9) - (board.gain(x) ?? -9));
    place.replaceChildren(...[bar,
      el("h2", {}, "Gains"), forest({ rows: now, title: `Gains on ${state.place}, ${state.regime}, ${state.learner}`, said: `Gain over none in ${label("scorer", state.scorer)} with its 95 % interval; hollow: leak suspected.`, name: row => label("method", board.method(row)) }),
      el("h2", {}, "Learning curves"), curves(at, state),
      el("h2", {}, "What a gain comes with"), tradeoff(now, state),
      el("h2", {}, "Methods by datasets"), heat(chosen.filter(row => board.regime(row) === state.regime), state), drawnSection()].flat(3).filter(Boolean));
    if (focus) bar.elements[focus].focus();
  };
  draw();
  return { title: "Figures", body: [title, note("Point at a mark for its numbers, drag to look closer, double-click to go back. Under each figure its numbers stand as a table."), place] };
}

/** Return the plan under which most rows differ from none. */
const busyPlan = (rows, plans) => plans.map(plan => [plan, rows.filter(row => board.plan(row) === plan && board.gain(row)).length]).sort((x, y) => y[1] - x[1])[0]?.[0];

/** Return the scorer of synthetic rows that most methods have on the common scale. */
function fullest(scorers, state) {
  const count = new Map(scorers.map(key => [key, 0]));
  for (let row = 0; row < board.rows; row++)
    if (!board.learnt(row) && board.regime(row) === state.regime && `${board.dataset(row)} ${board.task(row)}` === state.place && !missing(board.normalised(row))) count.set(board.scorer(row), (count.get(board.scorer(row)) || 0) + 1);
  const first = scorer => (known("scorer", scorer).family === "fidelity" ? 1 : 0);
  return [...count].sort((x, y) => y[1] - x[1] || first(y[0]) - first(x[0]))[0]?.[0];
}

/** Figures for print that lie beside the site. */
function drawnSection() {
  const found = head.beside.figures;
  const names = [...new Set(found.map(([, name]) => name))];
  return found.length > 0 && el("section", {}, el("h2", {}, "For print"), el("ul", {}, names.map(name => el("li", {}, name, ": ",
    found.filter(one => one[1] === name).map(([href, , kind], i) => [i ? ", " : "", el("a", { href, "aria-label": `${name}, ${kind.toUpperCase()}` }, kind.toUpperCase())])))));
}

const familyOrder = rows => [...rows].sort((x, y) => (board.family(x) === "control") - (board.family(y) === "control") || compare(label("method", board.method(x)), label("method", board.method(y))));

function curves(rows, state) {
  const regimes = study.regimes.filter(name => rows.some(row => board.regime(row) === name));
  const gains = rows.filter(row => !missing(gainOf(row)));
  if (regimes.length < 2 || !gains.length) return empty("A curve needs gains in two regimes or more.");
  const moving = new Set(gains.filter(row => board.gain(row) && !leaks(row)).map(board.method));
  const methods = [...new Set(familyOrder(gains).map(board.method))].sort((x, y) => moving.has(y) - moving.has(x)), most = 6;
  const chosen = new Set((state.curves || "").split(",").filter(key => methods.includes(key)));
  if (!chosen.size) methods.slice(0, most).forEach(key => chosen.add(key));
  const place = el("div");
  const paint = () => place.replaceChildren(chart({
    title: `Gain by regime on ${state.place}, ${state.learner}`, height: 420, said: `Gain over none in ${label("scorer", state.scorer)}; bars are 95 % intervals. Each regime has its own none: a falling curve does not mean a falling score.${gains.some(leaks) ? ` ${LEAKS} and hollow: leak suspected.` : ""}`,
    draw: () => ({
      traces: [...chosen].map((key, k, all) => {
        const line = regimes.map(name => gains.find(row => board.method(row) === key && board.regime(row) === name));
        const held = line.map((row, i) => [row, i + (k - (all.length - 1) / 2) * 0.025 * regimes.length]).filter(([row]) => row !== undefined);
        const shades = ["resampling", "deep", "statistical", "transform", "reweighting", "adapter", "control"].map(familyColour), colour = shades[methods.indexOf(key) % 7];
        const side = (get, sign) => held.map(([row]) => (missing(get(row)) ? 0 : sign * (get(row) - board.gain(row))));
        return { type: "scatter", mode: "lines+markers", name: safe(label("method", key)) + (held.some(([row]) => leaks(row)) ? LEAKS : ""), x: held.map(([, x]) => x), y: held.map(([row]) => board.gain(row)), line: { color: colour, width: 2 }, marker: { color: colour, size: 8, symbol: held.map(([row]) => SYMBOLS[methods.indexOf(key) % SYMBOLS.length] + (leaks(row) ? "-open" : "")) },
          error_y: { type: "data", symmetric: false, array: side(board.gain_high, 1), arrayminus: side(board.gain_low, -1), color: colour, thickness: 1.3, width: 3 }, text: held.map(([row]) => hoverOf(row)), hovertemplate: "%{text}<extra></extra>" };
      }),
      layout: { xaxis: { tickmode: "array", tickvals: regimes.map((_, i) => i), ticktext: regimes, title: { text: "regime" }, zeroline: false, range: [-0.5, regimes.length - 0.5] }, yaxis: { title: { text: "gain over none" }, zerolinewidth: 1.5 } },
    }),
    columns: [["Method", false], ...regimes.map(name => [name, true])],
    rows: () => methods.map(key => [label("method", key), ...regimes.map(name => { const row = gains.find(one => board.method(one) === key && board.regime(one) === name); return row === undefined ? NOTHING : `${number(board.gain(row), true)}${leaks(row) ? LEAKS : ""} ${intervalText(row)}`; })]),
  }));
  const box = el("fieldset", { class: "no-print" }, el("legend", {}, "Methods drawn"), methods.map(key => el("label", {}, el("input", { type: "checkbox", checked: chosen.has(key), onchange: event => {
    if (event.target.checked) chosen.add(key); else chosen.delete(key);
    state.curves = [...chosen].join(",");
    remember("figures", state);
    paint();
  } }), label("method", key))));
  paint();
  return [box, place];
}

/** Gain against a score of the synthetic rows (normalised), or against a cost. */
function tradeoff(rows, state) {
  const scorer = state.against, cost = known("scorer", scorer || "").family === "cost";
  const points = rows.filter(row => !missing(gainOf(row)));
  const partner = new Map();
  for (let row = 0; row < board.rows; row++) {
    if (board.scorer(row) !== scorer || board.learnt(row) !== cost || (cost && board.learner(row) !== state.learner) || board.regime(row) !== state.regime || `${board.dataset(row)} ${board.task(row)}` !== state.place) continue;
    partner.set(`${board.method(row)}\n${board.plan(row)}`, cost ? board.value(row) : board.normalised(row));
  }
  const drawn = points.map(row => [row, partner.get(`${board.method(row)}\n${board.plan(row)}`)]).filter(([, x]) => !missing(x) && (!cost || x > 0));
  if (!scorer || !drawn.length) return empty("No method here has both a gain and this score.");
  // Names stand above and below in turn from left to right, so that neighbours leave each other room.
  const above = new Map([...drawn].sort((p, q) => p[1] - q[1]).map(([row], i) => [row, i % 2 === 0]));
  const families = [...new Set(drawn.map(([row]) => board.family(row)))].sort(compare), sign = cost ? -1 : 1;
  const may = drawn.filter(([row]) => board.family(row) !== "control" && board.verdict(row) !== "leak");
  const front = may.filter(([row, x]) => !may.some(([other, z]) => (sign * z >= sign * x && board.gain(other) > board.gain(row)) || (sign * z > sign * x && board.gain(other) >= board.gain(row)))).sort((p, q) => p[1] - q[1]);
  return chart({
    title: `Gain against ${label("scorer", scorer)}`, height: 440,
    said: `${cost ? `${label("scorer", scorer)} (${known("scorer", scorer).unit || "as measured"}, on a log scale; less is better)` : `${label("scorer", scorer)}, normalised: 1 is as good as an independent real sample, 0 as bad as the bad reference`}. The line joins methods that none beats on both; control methods and suspected leaks are not on it. No interval is drawn: neighbours on the line may not differ.${drawn.some(([row]) => leaks(row)) ? ` ${LEAKS} and hollow: leak suspected.` : ""}`,
    draw: () => ({
      traces: [{ type: "scatter", mode: "lines", name: "not beaten on both", x: front.map(([, x]) => x), y: front.map(([row]) => board.gain(row)), line: { color: ink("bar"), dash: "dot", width: 1.5 }, hoverinfo: "skip" },
        ...families.map((family, k) => {
          const of = drawn.filter(([row]) => board.family(row) === family);
          return { type: "scatter", mode: "markers+text", name: family, x: of.map(([, x]) => x), y: of.map(([row]) => board.gain(row)), text: of.map(([row]) => safe(short(label("method", board.method(row)), 30)) + (leaks(row) ? LEAKS : "")), textposition: of.map(([row]) => (above.get(row) ? "top center" : "bottom center")), textfont: { size: 11, color: ink("dim") },
            customdata: of.map(([row, x]) => hoverOf(row, [`${safe(label("scorer", scorer))} ${number(x)}`])), hovertemplate: "%{customdata}<extra></extra>", cliponaxis: false, marker: { color: familyColour(family), size: 10, symbol: of.map(([row]) => SYMBOLS[k % SYMBOLS.length] + (board.verdict(row) === "leak" ? "-open" : "")) } };
        })],
      layout: { xaxis: { title: { text: safe(label("scorer", scorer)) + (cost ? "" : ", normalised") }, type: cost ? "log" : "linear", zeroline: false }, yaxis: { title: { text: "gain over none" }, zerolinewidth: 1.5 } },
    }),
    columns: [["Method", false], ["Gain", true], [label("scorer", scorer), true]], rows: () => drawn.map(([row, x]) => [label("method", board.method(row)), number(board.gain(row), true), number(x)]),
  });
}

function heat(rows, state) {
  const drawn = rows.filter(row => !missing(gainOf(row)));
  const datasets = [...new Set(drawn.map(board.dataset))].sort(compare), methods = [...new Set(familyOrder(drawn).map(board.method))];
  if (datasets.length < 2) return empty("One dataset only has this scorer, learner, plan and regime: the forest above shows it.");
  const at = new Map(drawn.map(row => [`${board.method(row)}\n${board.dataset(row)}`, row])), cell = (method, dataset) => at.get(`${method}\n${dataset}`);
  const top = Math.max(...drawn.map(row => Math.abs(board.gain(row))), 0.001);
  return chart({
    title: `Methods by datasets, ${state.regime}, ${state.learner}`, height: 140 + 27 * methods.length, said: `Gain over none in ${label("scorer", state.scorer)}. Blue: better than none, orange: worse. A star: the interval does not cover 0; ${drawn.some(leaks) ? `${LEAKS}: leak suspected; ` : ""}empty: not run or not estimable.`,
    draw: () => ({
      traces: [{ type: "heatmap", x: datasets.map(name => safe(short(datasetName(name), 24))), y: methods.map(key => safe(short(label("method", key)))), z: methods.map(key => datasets.map(name => { const row = cell(key, name); return row === undefined ? null : board.gain(row); })),
        text: methods.map(key => datasets.map(name => { const row = cell(key, name); return row === undefined ? "" : number(board.gain(row), true) + (["above", "below", "better", "worse"].includes(board.verdict(row)) ? " *" : leaks(row) ? LEAKS : ""); })), texttemplate: "%{text}",
        customdata: methods.map(key => datasets.map(name => { const row = cell(key, name); return row === undefined ? "" : hoverOf(row); })), hovertemplate: "%{customdata}<extra></extra>", zmin: -top, zmax: top, xgap: 2, ygap: 2,
        colorscale: isDark() ? [[0, "#b3600f"], [0.5, "#22272d"], [1, "#2f7fc4"]] : [[0, "#e08a3c"], [0.5, "#f7f7f7"], [1, "#5b9fd6"]], colorbar: { title: { text: "gain" }, thickness: 10, outlinewidth: 0 } }],
      layout: { yaxis: { autorange: "reversed", showgrid: false }, xaxis: { side: "top", showgrid: false }, margin: { l: 50, r: 10, t: 60, b: 20 } },
    }),
    columns: [["Method", false], ...datasets.map(name => [datasetName(name), true])], rows: () => methods.map(key => [label("method", key), ...datasets.map(name => { const row = cell(key, name); return row === undefined ? NOTHING : number(board.gain(row), true) + (leaks(row) ? LEAKS : ""); })]),
  });
}
