// Figures that answer the pointer, drawn by plotly.js; each stands beside the numbers that it shows.

// Okabe and Ito's colours, a little darker on white and lighter on black so that thin lines are seen.
const FAMILY_COLOURS = {
  control: ["#6b7280", "#9aa3ad"], reweighting: ["#8a5a00", "#e6b04c"], resampling: ["#0b5fa5", "#6db3f2"],
  transform: ["#9a3b7c", "#e29bc9"], statistical: ["#00735c", "#4cc9a8"], deep: ["#b3470a", "#f2955c"],
  adapter: ["#5b4bb3", "#b3a8f5"],
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "hexagon", "x", "pentagon"];
const live = new Set();

const isDark = () => {
  const set = document.documentElement.dataset.scheme;
  return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const familyColour = family => (FAMILY_COLOURS[family] || FAMILY_COLOURS.control)[isDark() ? 1 : 0];
const ink = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Return the name of a method in a figure; a row that may know the test fold carries its mark wherever it is drawn. */
const LEAKS = "‡";
const leaks = row => board.verdict(row) === "leak";

/** Return a line of labels in HTML of plotly, in which text is no markup. */
const safe = text => String(text).replace(/[&<>]/g, letter => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[letter]);
const short = (text, most = 34) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/**
 * Return a figure.
 *
 * said: one sentence that says what it shows; draw() -> {traces, layout}, called again when colours change;
 * columns, rows: the numbers as a table, for whoever cannot see or point.
 */
function chart({ title, said, draw, height, columns, rows }) {
  const place = el("div", { class: "chart", style: { "min-height": `${height}px` } }, el("p", { class: "waiting" }, "Drawing …"));
  const numbers = el("details", { class: "no-print", ontoggle: () => {
    if (numbers.open && numbers.childElementCount === 1) numbers.append(plainTable(title, columns, rows()));
  } }, el("summary", {}, `The numbers of this figure: ${title}`));
  const whole = el("figure", { style: { margin: "0" }, "aria-label": title }, el("figcaption", { class: "small dim" }, said), place, numbers);
  const paint = async () => {
    try {
      await load("plotly.min.js");
    } catch (error) {
      place.replaceChildren(el("p", { class: "waiting bad" }, error.message));
      return;
    }
    if (!place.isConnected) { live.delete(paint); return; }
    const { traces, layout } = draw();
    if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
    const axis = { gridcolor: ink("soft"), zerolinecolor: ink("dim"), linecolor: ink("line"), automargin: true, fixedrange: false };
    const narrow = place.clientWidth < 560;
    await globalThis.Plotly.react(place, traces, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height,
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: ink("ink") },
      margin: { l: 50, r: 16, t: 30, b: 48 }, hovermode: "closest", dragmode: narrow ? false : "zoom",
      hoverlabel: { bgcolor: ink("card"), bordercolor: ink("bar"), font: { color: ink("ink"), size: 12.5 }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink("dim"), activecolor: ink("ink") },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, title: { text: "" } },
      ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    }, {
      displaylogo: false, responsive: true, displayModeBar: !narrow,
      // Named one by one: among the library's own buttons is one that would send the numbers to a server.
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], plotlyServerURL: "",
      toImageButtonOptions: { format: "svg", filename: `${study.name}_${title.replace(/\W+/g, "_")}` },
    });
    place.querySelectorAll("svg.main-svg").forEach(svg => svg.setAttribute("aria-hidden", "true"));
  };
  live.add(paint);
  // Drawn when it comes into view: a page of many figures stays quick.
  new IntersectionObserver((seen, watch) => { if (seen.some(one => one.isIntersecting)) { watch.disconnect(); paint(); } }, { rootMargin: "200px" }).observe(place);
  whole.paint = paint;
  return whole;
}

/** Draw what is on the page again, in the present colours. */
function repaint() {
  document.querySelectorAll("figure").forEach(one => { if (one.paint && one.querySelector(".js-plotly-plot")) one.paint(); });
}

const hoverOf = (row, more = []) => [
  `<b>${safe(label("method", board.method(row)))}</b>`, safe(placeOf(row, [])), `gain ${number(board.gain(row), true)} ${intervalText(row)}`,
  `${safe(label("scorer", board.scorer(row)))} ${number(board.value(row))}`, verdictWord(board.verdict(row)), ...more,
].filter(Boolean).join("<br>");

/** Return gains with their intervals, one line a row, the family as colour. */
function forest({ rows, title, said, name, most = 60 }) {
  const gains = rows.filter(row => !missing(gainOf(row))), judged = gains.filter(row => !["idle", "same"].includes(board.verdict(row)));
  const idle = gains.length - judged.length, absent = rows.filter(row => board.verdict(row) === "absent").length;
  if (!judged.length) return empty(idle ? `Nothing to draw: no method here changed the score of none on any split (${plural(idle, "row")}).` : "No gain can be drawn: no row here has one.");
  const shown = judged.slice(0, most), left = judged.length - shown.length;
  const families = [...new Set(shown.map(row => board.family(row)))].sort(compare);
  const height = 110 + 23 * shown.length, tall = shown.length > 24;
  const names = shown.map((row, i) => `${short(name(row), matchMedia("(max-width: 48rem)").matches ? 30 : 60)}${"\u200b".repeat(i)}`);
  const draw = () => ({
    traces: families.map(family => {
      const at = shown.map((row, i) => i).filter(i => board.family(shown[i]) === family), of = get => at.map(i => get(shown[i]));
      return {
        type: "scatter", mode: "markers", name: family, x: of(board.gain), y: at,
        text: of(row => hoverOf(row)), hovertemplate: "%{text}<extra></extra>",
        marker: { color: familyColour(family), size: 9, symbol: of(row => (board.verdict(row) === "leak" ? "circle-open" : "circle")) },
        error_x: { type: "data", symmetric: false, thickness: 1.6, width: 3, color: familyColour(family),
          array: of(row => (missing(board.gain_high(row)) ? 0 : board.gain_high(row) - board.gain(row))),
          arrayminus: of(row => (missing(board.gain_low(row)) ? 0 : board.gain(row) - board.gain_low(row))) },
      };
    }),
    layout: {
      xaxis: { title: { text: "gain over none, 95 % interval" }, zeroline: true, zerolinewidth: 1.5, ...(tall ? { side: "top" } : {}) },
      ...(tall ? { margin: { l: 50, r: 16, t: 100, b: 10 }, legend: { orientation: "h", y: 1 + 58 / (height - 110), yanchor: "bottom", x: 0 } } : {}),
      yaxis: { range: [shown.length - 0.4, -0.6], tickmode: "array", tickvals: names.map((_, i) => i), ticktext: names.map(safe), zeroline: false, showgrid: false },
    },
  });
  return chart({
    title, draw, height, said: `${said}${shown.some(row => board.verdict(row) === "leak") && !said.includes("hollow") ? " Hollow: leak suspected." : ""}${left > 0 ? ` The first ${most} of ${judged.length} rows; filter to see others.` : ""}${idle ? ` Left out: ${plural(idle, "row")} that equal none on every split.` : ""}${absent ? ` Did not run: ${plural(absent, "row")}.` : ""}`,
    columns: [["Row", false], ["Gain", true], ["95 % interval", true], ["What it says", false]],
    rows: () => shown.map(row => [name(row), number(board.gain(row), true), intervalText(row) || NOTHING, verdictWord(board.verdict(row))]),
  });
}
