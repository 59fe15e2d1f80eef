// The bar of filters; its state stands in the address, so that a view can be linked.

const CHOICES = {
  patients: ["Patients", [["", "all"], ["real", "real only"], ["simulated", "simulated only"]]],
  show: ["Rows", [["", "all"], ["methods", "without control methods"], ["problems", "with failures or leaks"]]],
};

/** Return the choices of a filter as [value, text] pairs. */
function choices(field) {
  if (CHOICES[field]) return CHOICES[field][1];
  const say = FIELDS[field].say || String;
  const found = valuesOf(field).map(value => [value, say(value)]);
  if (field === "scorer") return [[PRIMARY, "primary of each task"], ["every", "all"], ...found];
  return [[ALL, "all"], ...found];
}

/**
 * Return the bar of filters.
 *
 * fields: names of filters; state: what they say; `changed(state)` is called when the reader changes one.
 */
function filterBar(fields, state, changed, search = true) {
  const told = el("summary", {}, "Filters");
  const form = el("form", { class: "filters", role: "search", "aria-label": "Filter the rows", onsubmit: event => event.preventDefault() });
  const controls = new Map();
  const given = field => (field === "scorer" ? state.scorer || (state.axis ? "every" : PRIMARY) : state[field] || "");
  const idle = field => given(field) === (field === "scorer" ? PRIMARY : "");

  function mark() {
    controls.forEach((control, field) => {
      control.value = given(field);
      control.classList.toggle("set", !idle(field));
    });
    const n = [...controls.keys()].filter(field => !idle(field)).length;
    told.textContent = n ? `Filters (${n} set)` : "Filters";
    reset.disabled = !n && !state.q;
  }

  function change(field, value) {
    state[field] = value || undefined;
    // An axis and a scorer of another axis would leave nothing.
    if (field === "axis") state.scorer = undefined;
    if (field === "scorer" && value !== "every") state.axis = undefined;
    state.page = 0;
    mark();
    changed(state);
  }

  for (const field of fields) {
    const options = choices(field);
    // What does not vary is no choice.
    if (options.length <= 2 && !CHOICES[field] && field !== "scorer") continue;
    const title = CHOICES[field] ? CHOICES[field][0] : FIELDS[field].title;
    const control = el("select", { name: field, onchange: event => change(field, event.target.value) },
      options.map(([value, text]) => el("option", { value }, text)));
    controls.set(field, control);
    form.append(el("label", {}, title, control));
  }
  const box = el("input", { type: "search", name: "q", value: state.q || "", placeholder: "method or dataset", autocomplete: "off" });
  let wait = 0;
  box.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => change("q", box.value), 120); });
  if (search) form.append(el("label", {}, "Search", box));
  const reset = el("button", { type: "button", onclick: () => {
    for (const field of [...fields, "q"]) state[field] = undefined;
    box.value = "";
    state.page = 0;
    mark();
    changed(state);
  } }, "Reset");
  form.append(el("div", { class: "field" }, el("span", { "aria-hidden": "true" }, "\u00a0"), el("div", {}, reset)));
  const fold = el("details", { class: "folded no-print", open: !matchMedia("(max-width: 48rem)").matches }, told, form);
  mark();
  return fold;
}
