"use strict";
// The rows and columns that show, as files and for the clipboard; and all cells as the Parquet file that came along.
//
// Numbers go out as they were measured. A spreadsheet takes a text that begins with = + - @ for a formula: such a
// text, and only a text, gets an apostrophe in front in CSV and on the clipboard. JSON and Parquet hold it as it is.
(() => {
  const { view, grid, make: element } = qbench;
  if (!grid) return;
  const WHO = ["run", "cell_id", "model", "method", "label", "status", "reason"];
  const actions = document.getElementById("actions");
  const said = document.getElementById("said");

  // Who the row is, then what shows, each number followed by what says how sure it is.
  const columnsOut = () => {
    const names = view.chosen().flatMap((name) => {
      const { low, high, least, most, stderr } = view.columns.get(name);
      return [name, low, high, least, most, stderr];
    });
    return Array.from(new Set([...WHO, ...names])).filter((name) => view.columns.has(name)).map((name) => view.columns.get(name));
  };

  const headed = (column) => (column.raw_unit ? column.name + " [" + column.raw_unit + "]" : column.name);
  const guarded = (text) => (/^[\s]*[=+\-@]/.test(text) || /^[\t\r]/.test(text) ? "'" + text : text);
  const plain = (column, row) => {
    const value = view.value(column.name, row);
    if (value === null) return "";
    return column.number ? String(value) : guarded(String(value));
  };
  const quoted = (text) => (/[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  const flat = (text) => text.replace(/[\t\r\n]+/g, " ");

  const csv = () => {
    const columns = columnsOut();
    const lines = grid.rows().map((row) => columns.map((column) => quoted(plain(column, row))).join(","));
    return [columns.map((column) => quoted(headed(column))).join(","), ...lines, ""].join("\r\n");
  };

  const tsv = () => {
    const columns = columnsOut();
    const lines = grid.rows().map((row) => columns.map((column) => flat(plain(column, row))).join("\t"));
    return [columns.map(headed).join("\t"), ...lines].join("\n");
  };

  const json = () => {
    const columns = columnsOut();
    const told = ({ name, raw_unit, direction, description }) => ({ name, unit: raw_unit || null, direction: direction || null, description });
    const rows = grid.rows().map((row) => {
      const why = columns.filter((column) => view.value(column.name, row) === null && column.number);
      return {
        ...Object.fromEntries(columns.map((column) => [column.name, view.value(column.name, row)])),
        missing: Object.fromEntries(why.map((column) => [column.name, view.reason(column.name, row)])),
      };
    });
    return JSON.stringify({ columns: columns.map(told), rows }, null, 1) + "\n";
  };

  // As it looks, for a pull request.
  const markdown = () => {
    const columns = ["label", ...view.chosen()].map((name) => view.columns.get(name));
    const safe = (text) => flat(text).replace(/[\\`*_{}[\]<>|#~!@&]/g, "\\$&");
    const line = (texts) => "| " + texts.join(" | ") + " |";
    const text = (column, row) => {
      const shown = view.text(column.name, row);
      return shown === null ? "–" : safe(shown) + (view.isBest(column.name, row) ? " ★" : "");
    };
    const head = columns.map((column) => safe([column.title, column.unit && "(" + column.unit + ")"].filter(Boolean).join(" ")));
    const rows = grid.rows().map((row) => line(columns.map((column) => text(column, row))));
    return [line(head), line(columns.map((column) => (column.number ? "---:" : "---"))), ...rows, ""].join("\n");
  };

  const save = (parts, type, name) => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([parts], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    said.textContent = name + " is saved.";
  };

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", "sr");
      area.value = text;
      actions.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) return "The browser lets this page copy nothing; the downloads hold the same.";
    }
    return grid.rows().length.toLocaleString("en") + " rows are copied.";
  };

  const stem = document.title.replace(/ · qbench$/, "").replace(/[^\p{L}\p{N}.-]+/gu, "-").slice(0, 60) || "leaderboard";
  const bytes = () => Uint8Array.from(atob(qbench.data("parquet")), (letter) => letter.charCodeAt(0));
  const DO = {
    csv: () => save(csv(), "text/csv", stem + ".csv"),
    json: () => save(json(), "application/json", stem + ".json"),
    parquet: () => save(bytes(), "application/vnd.apache.parquet", stem + ".parquet"),
    tsv: async () => (said.textContent = await copied(tsv())),
    markdown: async () => (said.textContent = await copied(markdown())),
  };
  const menu = document.getElementById("downloads");
  menu.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    DO[button.value]();
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
})();
