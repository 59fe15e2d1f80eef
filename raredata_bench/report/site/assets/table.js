// A table that sorts by its headings and shows one page of rows at a time: quick with very many, and plain HTML.

const SIZES = [50, 200, 1000], PRINTED = 1000;

/**
 * Return a table.
 *
 * columns: [{key, title, why, cell(row) -> text or element, sort(row) -> number, text or null, numeric, wide, kind, first}]
 * state: {sort, page, size}; `changed(state)` is called when the reader changes it.
 */
function sortTable({ caption, columns, rows, state, changed, aside, none }) {
  if (!rows.length) return none || empty("No rows.");
  const region = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  const pager = el("nav", { class: "row small pager no-print", "aria-label": `Pages of the table: ${caption}` });
  const body = el("tbody"), cap = el("caption"), headings = new Map();
  const heads = columns.map(col => {
    const th = el("th", { scope: "col", class: [col.numeric && "num", col.wide && "wide-only"].filter(Boolean).join(" ") || null },
      col.sort ? el("button", { type: "button", class: "sort", title: col.why, onclick: () => turn(col) }, col.title) : col.title);
    headings.set(col.key, th);
    return th;
  });
  const sorted = columns.filter(col => col.sort);
  const choose = el("select", { onchange: () => { const [key, down] = choose.value.split(" "); set({ sort: (down ? "-" : "") + key, page: 0 }); } },
    sorted.flatMap(col => [el("option", { value: `${col.key} -` }, `${col.title}, largest first`), el("option", { value: col.key }, `${col.title}, smallest first`)]));
  const narrow = el("label", { class: "field only-narrow no-print" }, "Sort by ", choose);
  let order = [];

  function sort() {
    const down = (state.sort || "").startsWith("-"), key = (state.sort || "").replace("-", "");
    const col = sorted.find(one => one.key === key);
    headings.forEach((th, name) => (col && name === col.key ? th.setAttribute("aria-sort", down ? "descending" : "ascending") : th.removeAttribute("aria-sort")));
    if (!col) { order = [...rows]; return; }
    choose.value = down ? `${key} -` : key;
    const keyed = rows.map(row => [col.sort(row), row]), sign = down ? -1 : 1;
    // Words are compared once each and then by their place: quick with many rows of few words.
    if (keyed.some(([value]) => typeof value === "string")) {
      const place = new Map([...new Set(keyed.map(([value]) => value))].filter(value => !missing(value)).sort(compare).map((value, i) => [value, i]));
      keyed.forEach(one => { one[0] = missing(one[0]) ? null : place.get(one[0]); });
    }
    // What has no value comes last either way; ties keep the order they had.
    keyed.sort(([a], [b]) => (missing(a) || missing(b) ? missing(a) - missing(b) : sign * (a - b)));
    order = keyed.map(([, row]) => row);
  }

  function draw(limit) {
    const size = limit || state.size || SIZES[0], pages = Math.ceil(order.length / size);
    state.page = limit ? 0 : Math.max(0, Math.min(state.page || 0, pages - 1));
    const from = state.page * size, shown = order.slice(from, from + size);
    body.replaceChildren(...shown.map(row => el("tr", { class: aside && aside(row) ? "aside" : null }, columns.map((col, i) =>
      el(i ? "td" : "th", { scope: i ? null : "row", class: [col.numeric && "num", col.wide && "wide-only", col.kind].filter(Boolean).join(" ") || null }, col.cell(row))))));
    const part = order.length > shown.length ? `rows ${(from + 1).toLocaleString("en")} to ${(from + shown.length).toLocaleString("en")} of ${order.length.toLocaleString("en")}` : plural(order.length, "row");
    cap.textContent = `${caption}: ${part}`;
    const go = (text, page, off) => el("button", { type: "button", disabled: off, onclick: () => { set({ page }); region.focus({ preventScroll: true }); region.scrollIntoView({ block: "start" }); } }, text);
    pager.replaceChildren(...(order.length <= SIZES[0] ? [] : [
      go("First", 0, !state.page), go("Previous", state.page - 1, !state.page),
      el("span", {}, `Page ${state.page + 1} of ${pages}`),
      go("Next", state.page + 1, state.page >= pages - 1), go("Last", pages - 1, state.page >= pages - 1),
      el("label", { class: "field" }, "Rows a page ", el("select", { onchange: event => set({ size: Number(event.target.value), page: 0 }) },
        SIZES.map(n => el("option", { value: n, selected: n === size }, n)))),
    ]));
    return part;
  }

  function set(change) {
    Object.assign(state, change);
    if ("sort" in change) sort();
    const part = draw();
    announce(`${"sort" in change ? "Sorted. " : ""}${part[0].toUpperCase()}${part.slice(1)}.`);
    if (changed) changed(state);
  }

  function turn(col) {
    const now = (state.sort || "").replace("-", "") === col.key;
    const first = col.numeric || col.first === "down" ? "-" : "";
    set({ sort: now ? (state.sort.startsWith("-") ? col.key : `-${col.key}`) : first + col.key, page: 0 });
  }

  sort();
  draw();
  region.append(el("table", {}, cap, el("thead", {}, el("tr", {}, heads)), body));
  const whole = el("div", { class: "sorted" }, narrow, region, pager);
  // On paper there are no pages to turn.
  whole.print = on => draw(on ? PRINTED : undefined);
  return whole;
}

addEventListener("beforeprint", () => document.querySelectorAll(".sorted").forEach(one => one.print(true)));
addEventListener("afterprint", () => document.querySelectorAll(".sorted").forEach(one => one.print(false)));
