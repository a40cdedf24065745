"use strict";
// A cell's panel: opened by the state's `cell`, `<run>/<cell_id>`. Everything in it is text.
(() => {
  const dialog = document.getElementById("panel");
  const details = qbench.data("details");
  if (!dialog || !details) return;
  const { element, state, view } = qbench;
  const title = document.getElementById("panel-title");
  const body = document.getElementById("panel-body");

  const places = new Map();
  details.chunks.forEach((chunk, at) => chunk.keys.forEach((key, place) => places.set(key, [at, place])));
  const unpacked = new Map();
  const entryOf = async (key) => {
    if (!places.has(key)) return null;
    const [at, place] = places.get(key);
    if (!unpacked.has(at)) unpacked.set(at, await qbench.unpack(details.chunks[at].packed));
    return unpacked.get(at)[place];
  };
  const rowOf = (key) => (view ? view.table.keys.indexOf(key) : -1);

  const heading = (text) => element("h3", { textContent: text });
  const soft = (text) => element("p", { className: "soft", textContent: text });
  const folded = (summary, ...inside) => element("details", {}, element("summary", { textContent: summary }), ...inside);
  const pairsTable = (pairs) => element("table", { className: "plain" }, element("tbody", {}, ...pairs.map(([name, text]) =>
    element("tr", {}, element("th", { scope: "row", textContent: name }), element("td", { textContent: text })))));

  // What the row of the leaderboard says.
  const standing = (row, told) => {
    const status = view.value("status", row);
    const reason = status === "ok" || told ? "" : " " + view.reason("status", row).replace(/^not recorded$/, "");
    const pill = element("span", { className: `status ${["ok", "failed", "oom", "timeout", "skipped"].includes(status) ? status : ""}`, textContent: status });
    return element("p", {}, pill, reason);
  };

  // Every number of the row with its interval; the ends of an interval stand beside it, not in rows of their own.
  const metrics = (row) => {
    const ends = new Set(view.table.columns.flatMap((column) => [column.low, column.high, column.least, column.most]));
    const shown = [];
    const missing = [];
    const between = (low, high, words) => {
      if (!view.columns.has(low) || !view.columns.has(high)) return "";
      const [first, last] = [low, high].map((name) => view.alone(name, row)[0]);
      return first !== null && last !== null ? `${first} to ${last}${words}` : "";
    };
    for (const column of view.table.columns) {
      if (!column.number || ends.has(column.name)) continue;
      const [text, unit] = view.alone(column.name, row);
      const name = element("th", { scope: "row" }, column.title, element("small", { textContent: column.description || "" }));
      if (text === null) missing.push([column.title, view.reason(column.name, row)]);
      else {
        const ends = between(column.low, column.high, "") || between(column.least, column.most, " (range)");
        const value = ends ? text.replace(/ \(.*/, "") : text; // the ends stand below, once
        shown.push(element("tr", {}, name, element("td", { className: "number" }, unit ? `${value} ${unit}` : value, element("small", { textContent: ends }))));
      }
    }
    const heads = ["Metric", "Value; 95 % interval"].map((text, at) => element("th", { scope: "col", className: at ? "number" : "", textContent: text }));
    const table = element("table", { className: "numbers metrics" }, element("caption", { className: "sr", textContent: "Metrics of the cell" }),
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...shown));
    return [heading("Metrics"),
      shown.length ? element("div", { className: "scroll", role: "region", tabIndex: 0, "aria-label": "Metrics of the cell" }, table) : soft("No number was measured."),
      missing.length ? folded(`${missing.length} not measured, and why`, pairsTable(missing)) : null];
  };

  // The command, with a button that copies it, or selects it where the browser does not let it.
  const command = (entry) => {
    const pre = element("pre", { tabIndex: 0, textContent: entry.command });
    const told = element("span", { className: "soft", role: "status" });
    const copy = element("button", { type: "button", className: "quiet", textContent: "Copy the command" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(entry.command);
        told.textContent = "Copied.";
      } catch {
        getSelection().selectAllChildren(pre);
        told.textContent = "Selected: copy it with the keyboard.";
      }
    });
    return [heading("Measure this cell again"), element("div", { className: "command" }, pre, copy, told), soft(entry.command_note)];
  };

  const failure = (error) => error && [heading(`Failure: ${error.type}`), element("p", { textContent: error.message }),
    error.traceback ? element("pre", { tabIndex: 0, "aria-label": "Traceback", textContent: error.traceback }) : null];

  // A dot for each sample, from left to right in the order of measuring; a line at the median.
  const SVG = "http://www.w3.org/2000/svg";
  const drawing = (tag, attributes) => {
    const found = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    return found;
  };
  const short = (value) => Number(value.toPrecision(4)).toString();

  const strip = (one) => {
    const known = one.values.filter((value) => value !== null);
    if (!known.length) return element("div", {}, element("h4", { textContent: one.title }), soft("no finite sample"));
    const sorted = [...known].sort((a, b) => a - b);
    const [low, high] = [sorted[0], sorted.at(-1)];
    const middle = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
    const y = (value) => (high > low ? 56 - (48 * (value - low)) / (high - low) : 32);
    const x = (at) => (one.values.length > 1 ? 4 + (292 * at) / (one.values.length - 1) : 150);
    const said = `${known.length} samples, one a ${one.sample}: ${short(low)} to ${short(high)}, median ${short(middle)} ${one.unit}`;
    const svg = drawing("svg", { viewBox: "0 0 300 64", preserveAspectRatio: "none", role: "img", "aria-label": `${one.title}. ${said}` });
    svg.append(drawing("line", { x1: 0, x2: 300, y1: y(middle), y2: y(middle) }));
    const dots = one.values.map((value, at) => (value === null ? "" : `M${x(at).toFixed(1)} ${y(value).toFixed(1)}h0`)).join("");
    svg.append(drawing("path", { d: dots }));
    const left = one.count > one.values.length ? ` (the first ${one.values.length} of ${one.count})` : "";
    const numbers = one.values.map((value) => (value === null ? "–" : value)).join(", ");
    return element("div", {}, element("h4", { textContent: one.title }), svg, element("p", { textContent: said + left }),
      folded("The samples", element("p", { textContent: numbers })));
  };

  // Per-layer table; a click on a head sorts by it.
  const LAYER = [
    ["name", "Layer"], ["shape", "Shape"], ["requested", "Requested"], ["executed", "Executed"], ["bits", "Bits per weight", true],
    ["bytes", "Bytes", true], ["error", "Error", true], ["fallback", "Fallback"],
  ];
  const collator = new Intl.Collator("en", { numeric: true });

  const layers = (entry) => {
    const found = entry.layers;
    if (!found) return entry.layer_count ? [heading("Layers"), soft(`The table of ${entry.layer_count} layers is left out of this page to keep it small; it stands in results/${entry.file}.`)] : null;
    const columns = LAYER.filter(([name]) => found[name].some((value) => value !== null && value !== ""));
    const order = found.name.map((_, at) => at);
    const text = (name, at) => (found[name][at] === null ? "–" : name === "bytes" ? found[name][at].toLocaleString("en") : String(found[name][at]));
    const data = () => ({
      columns: columns.map(([, label, number]) => ({ title: label, number })),
      rows: order.map((at) => columns.map(([name]) => text(name, at))),
    });
    const table = qbench.table(data(), "Layers of the cell");
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      const [name, label, number] = columns[place];
      head.replaceChildren(element("button", { type: "button", textContent: label }));
      head.addEventListener("click", () => {
        const sign = head.ariaSort === "ascending" ? -1 : 1;
        const values = found[name];
        order.sort((one, other) => {
          if (values[one] === null || values[other] === null) return (values[one] === null) - (values[other] === null);
          return sign * (number ? values[one] - values[other] : collator.compare(values[one], values[other])) || one - other;
        });
        for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        table.tBodies[0].replaceWith(qbench.table(data(), "").tBodies[0]);
      });
    });
    const left = found.left_out ? soft(`${found.left_out} more layers stand in the record.`) : null;
    const holder = element("div", { className: "scroll", role: "region", tabIndex: 0, "aria-label": "Layers of the cell" }, table);
    return [heading(`Layers (${entry.layer_count})`), holder, left];
  };

  // The run's machine and software, as the page has it below.
  const environment = (key) => {
    const run = key.slice(0, key.lastIndexOf("/"));
    const found = [...document.querySelectorAll(".environments details")].find((one) => one.querySelector("summary").textContent === run);
    const table = found && found.querySelector("table");
    return table ? folded("Machine and software of the run", table.cloneNode(true)) : null;
  };

  const fill = (key, entry) => {
    const row = rowOf(key);
    const parts = [row < 0 ? null : standing(row, Boolean(entry && entry.error))];
    if (entry) parts.push(...[failure(entry.error), command(entry)].flat());
    else parts.push(soft(`The details of this cell are left out of this page to keep it small; they stand in results/…/${key}.json.`));
    if (row >= 0) parts.push(...metrics(row));
    if (entry) {
      if (entry.series.length) parts.push(heading("Samples"), element("div", { className: "series" }, ...entry.series.map(strip)));
      parts.push(...(layers(entry) || []));
      const [parameters, ...others] = entry.sections;
      for (const section of entry.sections.length ? [parameters, ...others] : []) {
        if (section.title === "Parameters") parts.push(heading("Parameters"), pairsTable(section.pairs), heading("How it was measured"));
        else parts.push(folded(section.title, pairsTable(section.pairs)));
      }
    }
    parts.push(environment(key));
    body.replaceChildren(...parts.filter(Boolean));
  };

  let asked = null;
  const open = async (key) => {
    asked = key;
    const row = rowOf(key);
    if (row < 0 && !places.has(key)) return shut();
    title.textContent = row < 0 ? key : [view.text("label", row), view.value("model", row), view.value("dtype", row), view.value("device", row)].filter(Boolean).join(" · ");
    body.replaceChildren();
    if (!dialog.open) dialog.showModal();
    title.focus();
    dialog.scrollTop = 0;
    let entry = null;
    let trouble = "";
    try {
      entry = await entryOf(key);
    } catch (error) {
      trouble = error.message;
    }
    if (asked !== key) return; // closed, or another one meanwhile
    fill(key, entry);
    if (trouble) body.prepend(soft(trouble));
  };
  const shut = () => {
    if (dialog.open) dialog.close();
  };

  document.getElementById("panel-close").addEventListener("click", shut);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) shut(); // on the ground beside it
  });
  dialog.addEventListener("close", () => {
    asked = null;
    state.set("cell", null);
  });
  state.on("cell", (key) => {
    if (key) open(key);
    else {
      asked = null;
      shut();
    }
  });
})();
