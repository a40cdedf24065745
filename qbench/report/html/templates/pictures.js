"use strict";
// Pictures: one group of cells at a time, unpacked when it is chosen, drawn when it comes into view, in the
// colours of the page's theme. Every text that plotly gets is escaped by who wrote the figure, or here.
(() => {
  const chapters = qbench.data("pictures") || [];
  const place = document.getElementById("charts");
  if (!place || !chapters.length) return;
  const { colour, element, state } = qbench;

  // Brighter where the ground is dark: the same hues, in the same order, for the colour-blind.
  const BRIGHTER = new Map(Object.entries({
    "#0072B2": "#4AA3E3", "#D55E00": "#F28A3F", "#009E73": "#35C79B", "#CC79A7": "#E5A3C6", "#E69F00": "#F3BC45",
    "#56B4E9": "#93D3F7", "#7F7F7F": "#A6ACB5",
  }));
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(", ");
  for (const [from, to] of [...BRIGHTER]) BRIGHTER.set(`rgba(${channels(from)},`, `rgba(${channels(to)},`);
  const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
  const brighter = (text) => {
    const start = text.startsWith("rgba") ? text.slice(0, text.lastIndexOf(",") + 1) : text;
    return BRIGHTER.has(start) ? BRIGHTER.get(start) + text.slice(start.length) : text;
  };
  const coloured = (value, name) => {
    if (typeof value === "string") return /color/.test(name) ? brighter(value) : value;
    if (name === "text" || name === "customdata" || value === null || typeof value !== "object") return value;
    if (Array.isArray(value) && name === "colorscale") return value.map((step) => step.map((one) => coloured(one, "color")));
    if (Array.isArray(value)) return name === "color" ? value.map(brighter) : value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, key)]));
  };

  const escaped = (text) => {
    const short = text.length > 90 ? text.slice(0, 89) + "…" : text;
    return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  };

  // A heat map's hover texts are those of the table behind it.
  const hovers = (trace, { columns, rows }) =>
    trace.z.map((line, y) => line.map((value, x) =>
      value === null ? "" : `<b>${escaped(columns[y + 1].title)}</b><br>${escaped(rows[x][0])}<br>${escaped(rows[x][y + 1])}`));

  const legendHeight = (view, width) => {
    if (view.layout.showlegend === false) return 0;
    const names = view.data.filter((trace) => trace.type !== "heatmap").map((trace) => trace.name.replace(/&\w+;/g, "x"));
    if (names.length < 2) return 0;
    const longest = Math.max(...names.map((name) => name.length));
    const across = Math.max(1, Math.floor((width - 24) / (longest * 7.2 + 46)));
    return 19 * Math.ceil(names.length / across) + 14;
  };

  const themed = (view, width, narrow) => {
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--line"), zeroline: false,
      tickcolor: colour("--line"), automargin: true, nticks: narrow ? 5 : 8, minexponent: 6,
    };
    const legend = legendHeight(view, width);
    const { layout } = view;
    const folded = (text) => { // onto two lines, at the blank nearest its middle
      const blanks = [...text.matchAll(/ /g)].map((found) => found.index);
      const at = blanks.sort((one, other) => Math.abs(one - text.length / 2) - Math.abs(other - text.length / 2))[0];
      return text.length > 18 && at !== undefined ? `${text.slice(0, at)}<br>${text.slice(at + 1)}` : text;
    };
    const cells = narrow && layout.yaxis.ticktext ? { ticktext: layout.yaxis.ticktext.map(folded) } : {};
    const titled = (own) => ({ ...axis, ...own, title: { ...own.title, font: { size: narrow ? 11 : 13 } } });
    return {
      ...layout,
      height: view.height + legend,
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 13, color: colour("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 16, t: 28, b: 44 + legend, ...layout.margin },
      showlegend: legend > 0,
      legend: {
        orientation: "h", x: 0, xref: "container", xanchor: "left", y: 0, yref: "container", yanchor: "bottom", maxheight: 1e4,
        font: { color: colour("--soft"), size: 12 }, itemwidth: 30, traceorder: "normal",
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--accent") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") }, align: "left" },
      hovermode: "closest",
      xaxis: titled(layout.xaxis),
      yaxis: { ...titled(layout.yaxis), ...cells, tickfont: { size: narrow ? 10.5 : 12 } },
    };
  };

  // What is on the page: element → the view it shows.
  const shown = new Map();
  const drawn = new Set();

  const draw = (plot) => {
    const view = shown.get(plot);
    if (!view) return;
    if (typeof Plotly === "undefined") {
      plot.textContent = "plotly.js could not be loaded; the numbers stand in the table below.";
      return;
    }
    const onPaper = document.documentElement.hasAttribute("data-paper"); // which does not scroll
    plot.style.minWidth = view.least_width && !onPaper ? view.least_width + "px" : "";
    const layout = themed(view, plot.clientWidth, plot.parentElement.clientWidth < 460);
    plot.style.height = layout.height + "px";
    const traces = (isDark() ? coloured(view.data, "data").map((trace) => coloured(trace, "trace")) : view.data).map((trace) =>
      trace.type === "heatmap" ? { ...trace, text: hovers(trace, view.table) } : trace);
    Plotly.react(plot, traces, layout, {
      responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    });
    if (!drawn.has(plot)) plot.on?.("plotly_click", open);
    drawn.add(plot);
  };

  // A click on a cell's point opens its panel.
  const open = (event) => {
    const [point] = event.points;
    const keys = point.data.customdata;
    const key = keys && (Array.isArray(point.pointNumber) ? keys[point.pointNumber[0]] : keys[point.pointNumber]);
    if (key) state.set("cell", key);
  };

  const watcher = qbench.watcher(draw);

  // The table behind a picture is built when it is opened.
  const behind = (picture, plot) => {
    const holder = element("div", { className: "scroll", role: "region", tabIndex: 0, "aria-label": `Numbers of: ${picture.title}` });
    const details = element("details", { className: "behind" }, element("summary", { textContent: "The numbers" }), holder);
    const fill = () => {
      if (details.open) holder.replaceChildren(qbench.table(shown.get(plot).table, `${picture.title}, ${shown.get(plot).name}`));
    };
    details.addEventListener("toggle", fill);
    return { details, fill };
  };

  const figureOf = (picture) => {
    const plot = element("div", { className: "plot", role: "group", "aria-label": `${picture.title}; the numbers stand in the table below it` });
    shown.set(plot, picture.views[0]);
    const { details, fill } = behind(picture, plot);
    const choice = picture.views.length > 1
      ? element("select", { className: "view", "aria-label": `What to show in: ${picture.title}` }, ...picture.views.map((view, at) => element("option", { value: at, textContent: view.name })))
      : null;
    if (choice) {
      choice.addEventListener("change", () => {
        shown.set(plot, picture.views[choice.value]);
        draw(plot);
        fill();
      });
    }
    plot.style.height = picture.views[0].height + "px";
    watcher.observe(plot);
    return element("figure", { className: picture.wide ? "wide" : "" },
      element("figcaption", {}, picture.title === picture.section ? null : element("span", { textContent: picture.title }), choice, element("small", { textContent: picture.note })),
      element("div", { className: "plot-scroll" }, plot), details);
  };

  const undrawnOf = (undrawn) => {
    if (!undrawn.length) return null;
    const lines = undrawn.map(({ title, reason }) => element("li", { textContent: `${title}: ${reason}` }));
    return element("details", { className: "undrawn" }, element("summary", { textContent: `Not drawn (${undrawn.length}), and why` }), element("ul", { className: "notes" }, ...lines));
  };

  const fillAlbum = ({ pictures, undrawn }) => {
    const sections = [];
    for (const picture of pictures) {
      if (!sections.length || sections.at(-1).name !== picture.section) sections.push({ name: picture.section, lead: picture.lead, figures: [] });
      sections.at(-1).figures.push(figureOf(picture));
    }
    place.replaceChildren(...sections.map(({ name, lead, figures }) =>
      element("section", { "aria-label": name }, element("h3", { textContent: name }), lead ? element("p", { className: "legend", textContent: lead }) : null, element("div", { className: "grid" }, ...figures))));
    const last = undrawnOf(undrawn);
    if (last) place.append(last);
  };

  let asked = 0;
  const show = async (at) => {
    const turn = ++asked;
    let chapter;
    try {
      chapter = await qbench.unpack(chapters[at].packed);
    } catch (error) {
      place.replaceChildren(element("p", { className: "notes", textContent: `${error.message} The numbers stand in the leaderboard.` }));
      return;
    }
    if (turn !== asked) return; // the reader has chosen another meanwhile
    for (const plot of shown.keys()) watcher.unobserve(plot);
    for (const plot of drawn) Plotly.purge(plot);
    shown.clear();
    drawn.clear();
    fillAlbum(chapter);
  };

  const choice = document.getElementById("chapter");
  const placeOf = (title) => Math.max(0, chapters.findIndex((chapter) => chapter.title === title));
  if (choice) {
    choice.closest("label").hidden = false;
    choice.addEventListener("change", () => state.set("pictures", Number(choice.value) ? chapters[choice.value].title : null));
  }
  state.on("pictures", (title) => {
    if (choice) choice.value = placeOf(title);
    show(placeOf(title));
  });

  // Anew, for `react` keeps the width that a plot had.
  const redraw = () => {
    for (const plot of drawn) Plotly.purge(plot);
    drawn.clear();
    [...shown.keys()].forEach(draw);
  };
  addEventListener("beforeprint", redraw);
  addEventListener("afterprint", redraw);
  qbench.onTheme(() => drawn.forEach(draw));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawn.forEach(draw); // the legend may need more lines
    width = innerWidth;
  });
})();
