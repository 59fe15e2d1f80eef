// Small helpers that every page uses: elements, numbers, words on hover, what is read out.

const data = globalThis.raredata;
const NOTHING = "–";

/** Return an element; text children are text, never markup. */
function el(tag, attrs = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [part, held] of Object.entries(value)) node.style.setProperty(part, held);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

const missing = value => value === null || value === undefined || Number.isNaN(value);

/** Write a number as the tables do: .861, 12.3, +.012. */
function number(value, signed = false) {
  if (missing(value)) return NOTHING;
  const size = Math.abs(value);
  let text = size.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 3);
  // What is below 1 is not printed as 1.
  if (size < 1 && text.startsWith("1")) return value < 0 ? "<−.999" : signed ? ">+.999" : ">.999";
  if (text.startsWith("0.")) text = text.slice(1);
  const zero = !/[1-9]/.test(text);
  return (zero && !signed ? "" : zero ? "±" : value < 0 ? "−" : signed ? "+" : "") + text;
}

const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const compare = new Intl.Collator("en", { numeric: true }).compare;
const address = (view, ...parts) => `#/${[view, ...parts.map(encodeURIComponent)].join("/")}`;
const link = (text, ...where) => el("a", { href: address(...where) }, text);
const outside = (text, href) => el("a", { href, rel: "noopener noreferrer" }, text);

/** Have a screen reader say something once. */
function announce(text) {
  document.getElementById("live").textContent = text;
}

/** Return a word that is explained on hover, on focus and on a tap. */
function hint(text, why, kind = "") {
  if (!why) return el("span", { class: kind }, text);
  return el("button", { type: "button", class: `tip ${kind}`, "data-why": why, "aria-describedby": "tip" }, text);
}

/** One tooltip for all: it can be hovered, Escape puts it away, and it never covers what it explains. */
function explainOnHover() {
  const tip = document.getElementById("tip");
  let shown = null;
  const show = target => {
    shown = target;
    tip.textContent = target.dataset.why;
    tip.hidden = false;
    const at = target.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
    const below = at.bottom + tip.offsetHeight + 8 < innerHeight;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(below ? at.bottom + 4 : at.top - tip.offsetHeight - 4) + scrollY}px`;
  };
  const hide = () => { tip.hidden = true; shown = null; };
  const of = event => event.target instanceof Element ? event.target.closest("[data-why]") : null;
  document.addEventListener("pointerover", event => {
    const target = of(event);
    if (target) show(target);
    else if (!tip.contains(event.target) && shown !== document.activeElement) hide();
  });
  document.addEventListener("focusin", event => (of(event) ? show(of(event)) : hide()));
  document.addEventListener("click", event => { if (of(event)) show(of(event)); });
  document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  addEventListener("hashchange", hide);
}

/** Return a list of facts; those without a value are left out. */
function facts(pairs) {
  const held = pairs.filter(([, value]) => !missing(value) && value !== "" && !(Array.isArray(value) && !value.length));
  return el("dl", { class: "facts" }, held.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** Return a plain table; columns are [heading, numeric], cells are text or elements. */
function plainTable(caption, columns, rows) {
  const head = columns.map(([name, numeric]) => el("th", { scope: "col", class: numeric ? "num" : null }, name));
  const body = rows.map(cells => el("tr", {}, cells.map((cell, i) =>
    i ? el("td", { class: columns[i][1] ? "num" : null }, cell) : el("th", { scope: "row" }, cell))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

const note = (...children) => el("p", { class: "small dim" }, ...children);
const empty = (text, ...more) => el("div", { class: "empty" }, el("p", {}, text), ...more);
