"use strict";
// The leaderboard's table: heads, rows, keyboard. Up to FEW rows all stand in the document, so that the browser's
// own search, printing and a screen reader find them; of more, only those near the window do (`window.js`).
qbench.grid = (() => {
  const { view, state, make: element } = qbench;
  if (!view) return null;
  const FEW = 300;
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const readout = document.getElementById("readout");
  const many = view.table.rows > FEW;
  const phone = matchMedia("(max-width: 600px)");
  let names = null;
  let under = []; // on a phone what cells differ in stands under the method, so that numbers have the width
  let rows = [];
  let kept = new Map();

  const arrow = { lower: "↓", higher: "↑" };
  const headOf = (column) => {
    const head = element("th", column.number ? "number" : "text");
    head.scope = "col";
    head.dataset.key = column.name;
    head.title = column.description;
    const button = element("button", "", column.title);
    button.type = "button";
    const note = element("small", "", column.unit || "");
    if (column.direction) {
      const way = element("span", "", arrow[column.direction]);
      way.setAttribute("aria-hidden", "true");
      note.append(column.unit ? " " : "", way, element("span", "sr", column.direction + " is better"));
    }
    head.append(button, note);
    if (column.protocol) head.append(element("small", "protocol", column.protocol));
    return head;
  };

  const drawHeads = () => {
    const line = element("tr");
    line.setAttribute("aria-rowindex", "1");
    line.append(...["label", ...names].map((name) => headOf(view.columns.get(name))));
    line.firstChild.classList.add("sticky");
    table.tHead.replaceChildren(line);
    table.setAttribute("aria-colcount", names.length + 1);
    markSorted();
  };

  const markSorted = () => {
    const by = view.sorting();
    for (const head of table.tHead.rows[0].cells) {
      if (by && head.dataset.key === by.name) head.setAttribute("aria-sort", by.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };

  // What a cell says in full: the readout's line, and its title.
  const unit = (column) => (column.raw_unit ? " " + column.raw_unit : "");
  const spelled = (name, row) => {
    const column = view.columns.get(name);
    const value = view.value(name, row);
    if (value === null) return view.reason(name, row);
    const between = (low, high, words) =>
      low && view.value(low, row) !== null && view.value(high, row) !== null
        ? ", " + words + " " + view.value(low, row) + " to " + view.value(high, row)
        : "";
    const sure = between(column.low, column.high, "95 % interval") || between(column.least, column.most, "range");
    const error = column.stderr && view.value(column.stderr, row) !== null ? ", standard error " + view.value(column.stderr, row) : "";
    return value + (column.number ? unit(column) + sure + error : "");
  };

  const cellOf = (name, row) => {
    const column = view.columns.get(name);
    const cell = element("td", column.number ? "number" : name === "reason" ? "text why" : "text");
    cell.tabIndex = -1;
    const text = view.text(name, row);
    cell.title = spelled(name, row);
    if (text === null) {
      cell.classList.add("null");
      cell.append("–", element("span", "sr", " " + cell.title));
      return cell;
    }
    const end = column.number ? text.indexOf(" ") : -1; // the spread follows: "± 0.018" or "(1.83 to 3.50)"
    cell.append(end < 0 ? text : text.slice(0, end));
    if (end >= 0) cell.append(element("span", "spread", text.slice(end)));
    if (view.isBest(name, row)) {
      cell.classList.add("best");
      cell.append(element("span", "sr", " (best)"));
    }
    return cell;
  };

  const headOfRow = (row) => {
    const head = element("th", "text sticky");
    head.scope = "row";
    const label = view.text("label", row);
    const open = element("button", "open");
    open.type = "button";
    open.tabIndex = -1;
    open.append(element("span", "label", label));
    const method = view.value("method", row) || "";
    if (!label.toLowerCase().includes(method.toLowerCase())) open.append(" ", element("span", "method", method));
    open.title = [view.value("label", row), view.value("params", row)].filter(Boolean).join(": ");
    head.append(open);
    const words = under.map((name) => view.text(name, row) ?? "–").join(" · ");
    if (words) head.append(element("small", "under", words));
    return head;
  };

  // A cell that did not end well says why in place of its numbers.
  const whyOf = (row, span) => {
    const cell = element("td", "text why");
    cell.colSpan = span;
    cell.tabIndex = -1;
    const status = view.value("status", row);
    const why = view.value("reason", row) || "no reason was recorded";
    const words = element("div");
    words.append(element("span", "status " + status, status), " " + why);
    cell.append(words);
    cell.title = why;
    return cell;
  };

  const rowOf = (row) => {
    if (kept.has(row)) return kept.get(row);
    const line = element("tr");
    line.dataset.row = row;
    line.append(headOfRow(row));
    const failed = view.value("status", row) !== "ok";
    const span = names.filter((name) => view.columns.get(name).number).length;
    let said = false;
    for (const name of names) {
      if (!failed || !view.columns.get(name).number) line.append(cellOf(name, row));
      else if (!said) said = line.append(whyOf(row, span)) === undefined;
    }
    if (failed && !span) line.firstChild.append(element("span", "status " + view.value("status", row), view.value("status", row)));
    if (!many) kept.set(row, line);
    return line;
  };

  // Some rows in their order, from a place on.
  const lines = (from, to) =>
    rows.slice(from, to).map((row, at) => {
      const line = rowOf(row);
      line.setAttribute("aria-rowindex", from + at + 2);
      return line;
    });

  const empty = () => {
    const line = element("tr");
    const cell = element("td", "text none", "No cell fits. Take a word or a filter away.");
    cell.colSpan = names.length + 1;
    line.append(cell);
    return line;
  };

  const listeners = [];
  const draw = () => {
    const chosen = view.chosen();
    const below = chosen.filter((name) => phone.matches && view.isDimension(name));
    const next = chosen.filter((name) => !below.includes(name));
    if (!names || next.join() !== names.join() || below.join() !== under.join()) {
      names = next;
      under = below;
      kept = new Map();
      drawHeads();
    } else markSorted();
    rows = view.rows();
    table.setAttribute("aria-rowcount", rows.length + 1);
    if (!rows.length) body.replaceChildren(empty());
    else if (!many) body.replaceChildren(...lines(0, rows.length));
    listeners.forEach((tell) => tell());
  };

  const show = (name, row) => {
    const column = view.columns.get(name);
    readout.textContent = row === null
      ? column.title + " (" + column.name + "): " + column.description
      : name === "label"
        ? view.value("label", row) + ": " + (view.value("params", row) || "no parameters")
        : view.text("label", row) + " · " + column.title + ": " + spelled(name, row);
  };

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const name = button.closest("th").dataset.key;
    const by = view.sorting();
    const first = view.columns.get(name).direction === "higher" ? "-" : "";
    const turned = by && by.name === name ? (by.falling ? "" : "-") : first;
    state.set("sort", turned + name);
  });

  phone.addEventListener("change", draw);
  return {
    table, body, many, phone, lines, draw, show, onDraw: (tell) => listeners.push(tell),
    names: () => ["label", ...names], rows: () => rows,
  };
})();
