"use strict";
// Series over time take their colours from the page's theme and are drawn when they come into view.
(() => {
  const groups = qbench.data("figures");
  const drawn = new Set();

  const themed = (layout, narrow) => {
    const { colour } = qbench;
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false,
      tickcolor: colour("--line"), automargin: true, nticks: narrow ? 5 : 8,
    };
    return {
      ...layout,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 16, t: 34, b: 40, ...layout.margin },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { color: colour("--soft") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--accent") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  };

  const draw = (element) => {
    if (typeof Plotly === "undefined") {
      element.textContent = "plotly.js could not be loaded; the numbers stand in the tables.";
      return;
    }
    const figure = groups[element.dataset.group][element.dataset.figure];
    const layout = themed(figure.layout, element.clientWidth < 460);
    Plotly.react(element, figure.data, layout, {
      responsive: true, displaylogo: false, displayModeBar: figure.small ? false : "hover",
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    });
    drawn.add(element);
  };

  const plots = document.querySelectorAll(".plot");
  const watcher = qbench.watcher(draw);
  plots.forEach((plot) => watcher.observe(plot));
  const redraw = () => {
    for (const plot of drawn) Plotly.purge(plot); // `react` keeps the width that a plot had
    plots.forEach(draw);
  };
  addEventListener("beforeprint", redraw);
  addEventListener("afterprint", redraw);
  qbench.onTheme(() => drawn.forEach(draw));
})();
