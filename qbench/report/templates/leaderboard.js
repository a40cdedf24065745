"use strict";
// Sorting, filtering, theme and pictures of the leaderboard. The page can be read without it.
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const collator = new Intl.Collator("en", { numeric: true });

  // Sorting: a click on a head sorts by it, a second one turns it round. Rows without a value stay last.
  const table = document.getElementById("table");
  const body = table && table.tBodies[0];

  const valueOf = (row, place) => {
    const cell = row.cells[place];
    return cell && cell.dataset.sort !== undefined && cell.dataset.sort !== "" ? cell.dataset.sort : null;
  };

  const compare = (isNumber, sign) => (one, other) => {
    if (one.value === null || other.value === null) return (one.value === null) - (other.value === null);
    return sign * (isNumber ? one.value - other.value : collator.compare(one.value, other.value));
  };

  const sortBy = (head) => {
    const place = head.cellIndex;
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const keyed = Array.from(body.rows, (row) => ({ row, value: valueOf(row, place) }));
    keyed.sort(compare(head.classList.contains("number"), rising ? 1 : -1));
    body.append(...keyed.map((entry) => entry.row));
  };

  // Filtering: every choice and every word of the search has to hold.
  const form = document.getElementById("filters");

  const filter = () => {
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const choices = Array.from(form.querySelectorAll("select")).filter((select) => select.value);
    let shown = 0;
    for (const row of body.rows) {
      const holds =
        words.every((word) => row.dataset.search.includes(word)) &&
        choices.every((select) => row.getAttribute("data-" + select.name.replaceAll("_", "-")) === select.value);
      row.hidden = !holds;
      shown += holds;
    }
    document.getElementById("shown").textContent = shown + " of " + body.rows.length + " cells";
  };

  if (table) {
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) sortBy(button.closest("th"));
    });
    filter();
  }

  // Pictures take their colours from the page's theme and are drawn when they come into view.
  const drawn = new Set();
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  const themed = (layout, narrow) => {
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false,
      tickcolor: colour("--line"), automargin: true, nticks: narrow ? 5 : 8,
    };
    return {
      ...layout,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 16, t: 34, b: 40 },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { color: colour("--soft") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--accent") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  };

  const draw = (element) => {
    if (typeof Plotly === "undefined") {
      element.textContent = "plotly.js could not be loaded; the numbers stand in the leaderboard.";
      return;
    }
    const figure = data.figures[element.dataset.group][element.dataset.figure];
    const layout = themed(figure.layout, element.clientWidth < 460);
    Plotly.react(element, figure.data, layout, {
      responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    });
    drawn.add(element);
  };

  const plots = document.querySelectorAll(".plot");
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watcher.unobserve(entry.target);
        draw(entry.target);
      }
    },
    { rootMargin: "600px" },
  );
  plots.forEach((plot) => watcher.observe(plot));
  addEventListener("beforeprint", () => plots.forEach(draw));

  // Theme: the system's until the reader chooses.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  const repaint = () => { name(); drawn.forEach(draw); };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; repaint(); });
  dark.addEventListener("change", repaint);
  name();
})();
