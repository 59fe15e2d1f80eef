// Two methods side by side over all that both were asked: the same rows, and the same splits.

/** Return pairs of rows [a, b] that share dataset, task, regime, learner and scorer, and the plan where both have it. */
function pairRows(a, b, rows) {
  const key = row => [board.dataset(row), board.task(row), board.regime(row), board.learner(row), board.scorer(row)].join("\n");
  const by = new Map();
  rows.filter(row => board.method(row) === b).forEach(row => by.set(key(row), [...(by.get(key(row)) || []), row]));
  const out = [];
  for (const row of rows.filter(one => board.method(one) === a)) {
    const others = by.get(key(row)) || [], same = others.filter(other => board.plan(other) === board.plan(row));
    // A method that adds no rows has one plan of its own; it meets every plan of the other.
    const idle = study.baseline.plan;
    (same.length ? same : others.filter(other => board.plan(other) === idle || board.plan(row) === idle)).forEach(other => out.push([row, other]));
  }
  return out;
}

function compareView([first, second], state) {
  const keys = Object.keys(head.components.method).sort((x, y) => compare(label("method", x), label("method", y)));
  const a = keys.includes(first) ? first : keys.find(key => known("method", key).family !== "control") || keys[0];
  const b = keys.includes(second) ? second : keys.find(key => key !== a && known("method", key).family !== "control") || keys.find(key => key !== a) || a;
  const title = `${label("method", a)} beside ${label("method", b)}`;
  const go = (x, y) => { location.hash = address("compare", x, y) + query(state); };
  const pick = (name, value, change) => el("label", { class: "field" }, name, " ", el("select", { onchange: event => change(event.target.value) }, keys.map(key => el("option", { value: key, selected: key === value }, label("method", key)))));
  const top = [el("h1", { tabindex: "-1" }, "Compare two methods"),
    el("div", { class: "row no-print" }, pick("First", a, key => go(key, b)), pick("Second", b, key => go(a, key)), el("button", { type: "button", onclick: () => go(b, a) }, "Swap"))];
  if (a === b) return { title: "Compare", body: [...top, empty("Choose two different methods.")] };
  const place = el("div"), keep = () => remember(address("compare", a, b).slice(2), state);
  const fields = ["dataset", "task", "regime", "learner", "axis", "scorer"];
  const draw = () => {
    const pairs = pairRows(a, b, select(state)), learnt = pairs.filter(([row]) => board.learnt(row)), synthetic = pairs.length > 0 && !learnt.length;
    place.replaceChildren(...(pairs.length ? [sideTable(synthetic ? pairs : learnt, a, b, state, keep, synthetic), !synthetic && pairChart(learnt, a, b), !synthetic && splitSection(learnt, a, b)].flat().filter(Boolean)
      : [empty("The two share no row under these filters.")]));
    return pairs.length;
  };
  const bar = filterBar(fields, state, () => { announce(`${plural(draw(), "shared row")} shown.`); keep(); }, false);
  draw();
  return { title, body: [...top, el("p", { class: "lead" }, title), note("Both gains are measured from none on the same splits, so that their difference is that of the two methods there; it has no interval of its own here and is no test."), bar, place] };
}

function sideTable(pairs, a, b, state, changed, synthetic) {
  const rows = pairs.map(([x, y]) => ({ x, y, plan: board.plan(x) === board.plan(y) ? board.plan(x) : `${board.plan(x)}, ${board.plan(y)}` }));
  const get = row => (synthetic ? board.normalised(row) : board.baseline(row) ? 0 : gainOf(row)), apart = one => (missing(get(one.x)) || missing(get(one.y)) ? null : get(one.x) - get(one.y));
  const varies = of => rows.some(one => of(one) !== of(rows[0]));
  const field = (name, of, say = String) => varies(of) && { key: name, title: FIELDS[name] ? FIELDS[name].title : name, kind: "where", wide: false, cell: one => (name === "dataset" ? link(say(of(one)), "dataset", of(one)) : say(of(one))), sort: one => (name === "regime" ? study.regimes.indexOf(of(one)) : of(one) ?? "") };
  const gain = (name, side, key) => ({ key, title: label("method", name), numeric: true, cell: one => [el("a", { href: address("job", board.id(one[side])) }, board.verdict(one[side]) === "absent" ? "did not run" : board.baseline(one[side]) ? "baseline" : number(get(one[side]), !synthetic)), leaks(one[side]) && hint(LEAKS, verdictWhy(one[side]), "leak"), " ", el("span", { class: "dim small" }, synthetic || board.verdict(one[side]) === "absent" ? "" : intervalText(one[side]))], sort: one => get(one[side]) });
  const columns = [
    field("dataset", one => board.dataset(one.x), datasetName), field("task", one => board.task(one.x)), field("regime", one => board.regime(one.x)), field("plan", one => one.plan), field("learner", one => board.learner(one.x)), field("scorer", one => board.scorer(one.x), key => label("scorer", key)),
    gain(a, "x", "a"), gain(b, "y", "b"),
    { key: "apart", title: "Difference", why: "first less second; positive: the first is better", numeric: true, cell: one => number(apart(one), true), sort: apart },
    { key: "ran", title: "Ran", numeric: true, cell: one => `${ranText(one.x)}, ${ranText(one.y)}`, sort: one => board.coverage(one.x) + board.coverage(one.y) },
  ].filter(Boolean);
  const sides = state.side || (state.side = { sort: "-apart" });
  return sortTable({ caption: `${label("method", a)} beside ${label("method", b)}, ${synthetic ? "normalised scores of synthetic rows" : "gains over none"}`, columns, rows, state: sides, changed });
}

function pairChart(pairs, a, b) {
  const drawn = pairs.filter(([x, y]) => !missing(board.gain(x)) && !missing(board.gain(y)) && ![x, y].some(row => board.verdict(row) === "absent"));
  if (!drawn.length) return empty("No pair of gains can be drawn.");
  const datasets = [...new Set(drawn.map(([x]) => board.dataset(x)))].sort(compare);
  const reach = Math.max(...drawn.flatMap(([x, y]) => [Math.abs(board.gain(x)), Math.abs(board.gain(y))]), 0.01) * 1.1;
  const colours = () => ["resampling", "deep", "statistical", "transform", "reweighting", "adapter", "control"].map(familyColour);
  return chart({
    title: `Gains of ${label("method", b)} against ${label("method", a)}`, height: 460,
    said: `One point a shared row. On the line both gain the same; below it the first gains more.${drawn.some(pair => pair.some(leaks)) ? " Hollow: a leak is suspected in one of the two." : ""}`,
    draw: () => ({
      traces: [{ type: "scatter", mode: "lines", x: [-reach, reach], y: [-reach, reach], line: { color: ink("bar"), width: 1, dash: "dot" }, hoverinfo: "skip", showlegend: false },
        ...datasets.map((dataset, k) => {
          const of = drawn.filter(([x]) => board.dataset(x) === dataset);
          return { type: "scatter", mode: "markers", name: datasetName(dataset), x: of.map(([x]) => board.gain(x)), y: of.map(([, y]) => board.gain(y)), marker: { color: colours()[k % 7], symbol: of.map(pair => SYMBOLS[k % SYMBOLS.length] + (pair.some(leaks) ? "-open" : "")), size: 9, opacity: 0.85 },
            text: of.map(([x, y]) => `${safe(placeOf(x, []))}<br>first ${number(board.gain(x), true)} ${intervalText(x)}<br>second ${number(board.gain(y), true)} ${intervalText(y)}`), hovertemplate: "%{text}<extra></extra>" };
        })],
      layout: { xaxis: { title: { text: safe(`gain of ${label("method", a)}`) }, range: [-reach, reach] }, yaxis: { title: { text: safe(`gain of ${label("method", b)}`) }, range: [-reach, reach] } },
    }),
    columns: [["Row", false], [label("method", a), true], [label("method", b), true]], rows: () => drawn.map(([x, y]) => [placeOf(x, []), number(board.gain(x), true), number(board.gain(y), true)]),
  });
}

/** Count by split who is better; a split on which one failed is counted as that. */
function splitSection(pairs, a, b) {
  const place = el("div", {}, el("p", { class: "dim" }, "Reading the cells …"));
  details().then(found => {
    const rows = new Map();
    for (const [x, y] of pairs) {
      const scorer = board.scorer(x), seconds = new Map(found.range(board.job(y)).map(i => [`${found.cells.repeat[i]} ${found.cells.fold[i]}`, i]));
      const dataset = board.dataset(x), at = rows.get(dataset) || { first: 0, second: 0, same: 0, lostFirst: 0, lostSecond: 0, open: 0 };
      for (const i of found.range(board.job(x))) {
        const j = seconds.get(`${found.cells.repeat[i]} ${found.cells.fold[i]}`);
        if (j === undefined) continue;
        const lost = [i, j].map(k => BAD.has(found.said(k, "status")));
        const apart = better(scorer, found.value(i, scorer), found.value(j, scorer));
        if (lost[0] || lost[1]) { at.lostFirst += lost[0]; at.lostSecond += lost[1]; }
        else if (missing(apart)) at.open++;
        else at[apart > 0 ? "first" : apart < 0 ? "second" : "same"]++;
      }
      rows.set(dataset, at);
    }
    place.replaceChildren(plainTable("Splits, by dataset", [["Dataset", false], [`${label("method", a)} better`, true], ["Equal", true], [`${label("method", b)} better`, true], ["Not estimable", true], [`${label("method", a)} failed`, true], [`${label("method", b)} failed`, true]],
      [...rows].map(([dataset, n]) => [datasetName(dataset), n.first, n.same, n.second, n.open, n.lostFirst, n.lostSecond])));
  }).catch(error => place.replaceChildren(el("p", { class: "bad" }, error.message)));
  return [el("h2", {}, "Split by split"), note("Splits of one dataset share patients: these counts describe, and are no test."), place];
}
