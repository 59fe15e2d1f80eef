// Addresses, pages and the colour scheme.

const VIEWS = {
  leaderboard: leaderboardView, methods: methodsView, method: methodView, datasets: datasetsView, dataset: datasetView, compare: compareView,
  figures: figuresView, cells: cellsView, job: jobView, cell: cellView, statistics: statisticsView, sheet: sheetView, about: aboutView,
};
const NAV = [["leaderboard", "Leaderboard"], ["methods", "Methods"], ["datasets", "Datasets"], ["compare", "Compare"], ["figures", "Figures"], ["cells", "Cells"]];
const UNDER = { method: "methods", dataset: "datasets", job: "leaderboard", cell: "cells", sheet: "statistics" };

/** Return the state of a page as the end of an address; what is not set is left out. */
function query(state) {
  const held = Object.entries(state).filter(([, value]) => value !== undefined && value !== "" && value !== 0 && typeof value !== "object");
  return held.length ? `?${new URLSearchParams(held)}` : "";
}

/** Put the state of a page into its address, without a step for the back button. */
function remember(view, state) {
  const hash = `#/${view}${query(state)}`;
  if (hash !== location.hash) history.replaceState(history.state, "", hash);
}

/** Return view, arguments and state of an address; a broken one leads to the leaderboard. */
function parse(hash) {
  const [path, search] = hash.replace(/^#\/?/, "").split("?");
  const [view, ...parts] = path.split("/");
  const decode = text => { try { return decodeURIComponent(text); } catch { return text; } };
  const state = Object.fromEntries(new URLSearchParams(search || ""));
  for (const name of ["page", "size"]) if (name in state) state[name] = Math.max(0, Math.floor(Number(state[name]))) || 0;
  return { view: view || "leaderboard", parts: parts.map(decode), state };
}

const scrolls = new Map();
let clicked = false, shown = null;

function render() {
  const { view, parts, state } = parse(location.hash), main = document.getElementById("main");
  const page = VIEWS[view] ? VIEWS[view](parts, state) : unknownView("page", view);
  main.replaceChildren(...page.body.flat(4).filter(Boolean));
  document.title = `${page.title} · ${study.name}`;
  const under = UNDER[view] || view;
  document.querySelectorAll("#nav a").forEach(one => (one.dataset.view === under ? one.setAttribute("aria-current", "page") : one.removeAttribute("aria-current")));
  if (shown !== null) {
    // A new page begins at its heading; one that is come back to, where it was left.
    const h1 = main.querySelector("h1");
    if (clicked || !scrolls.has(location.hash)) { scrollTo(0, 0); h1.focus({ preventScroll: true }); } else scrollTo(0, scrolls.get(location.hash));
    announce(page.title);
  }
  clicked = false;
  shown = location.hash;
}

function scheme() {
  const control = document.getElementById("scheme"), stored = (() => { try { return localStorage.getItem("raredata-scheme"); } catch { return null; } })();
  const apply = value => { if (value === "auto") delete document.documentElement.dataset.scheme; else document.documentElement.dataset.scheme = value; };
  control.value = ["light", "dark"].includes(stored) ? stored : "auto";
  apply(control.value);
  control.addEventListener("change", () => {
    apply(control.value);
    try { localStorage.setItem("raredata-scheme", control.value); } catch { /* a browser may keep nothing for files */ }
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}

function start() {
  const links = [...NAV.filter(([view]) => view !== "compare" || Object.keys(head.components.method).length > 1), ...(head.sheets.length || head.notes.length ? [["statistics", "Statistics"]] : []), ["about", "About"]];
  document.getElementById("nav").append(...links.map(([view, text]) => el("li", {}, el("a", { href: `#/${view}`, "data-view": view }, text))));
  document.getElementById("footer").replaceChildren(`Study ${study.name}${study.git.length ? `, code revision ${study.git.map(one => one.slice(0, 13)).join(", ")}` : ""}. Made with raredata-bench ${study.versions["raredata-bench"]} and plotly.js. `, el("a", { href: address("about") }, "How to read this site"));
  document.querySelector(".skip").addEventListener("click", event => { event.preventDefault(); document.getElementById("main").focus(); });
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => scrolls.set(location.hash, scrollY), { passive: true });
  document.addEventListener("click", event => { if (event.target instanceof Element && event.target.closest("a[href^='#/']")) clicked = true; });
  addEventListener("hashchange", render);
  explainOnHover();
  scheme();
  render();
}

start();
