"use strict";
// From the reader's state to the rows and columns that show. Touches no document; `table.js` draws.
//
// State: sort=name or -name, search=words and conditions such as bits<=4.5, columns=name,name, and name=value
// for every dimension that can be filtered. What names no column or value of this page is ignored.
qbench.view = (() => {
  const table = qbench.data("table");
  if (!table) return null;
  const { state } = qbench;
  const every = Array.from({ length: table.rows }, (_, row) => row);
  const label = { name: "label", title: "Method", number: false, description: "the suite's name for method and parameters" };
  const columns = new Map([label, ...table.columns].map((column) => [column.name, column]));
  const has = (part, name) => Object.prototype.hasOwnProperty.call(part, name);

  // The row's head: its short name to read, its whole label to find and to download it by.
  const LABELS = { "values label": table.labels, "texts label": table.names };

  // A column's list, unpacked when first asked for.
  const unpacked = new Map();
  const list = (part, name) => {
    const key = part + " " + name;
    if (!unpacked.has(key)) {
      const packed = LABELS[key] || (has(table[part], name) ? table[part][name] : []);
      unpacked.set(key, Array.isArray(packed) ? packed : packed.at.map((place) => packed.of[place]));
    }
    return unpacked.get(key);
  };
  const value = (name, row) => list("values", name)[row] ?? null;
  const text = (name, row) => list(columns.get(name).number || name === "label" ? "texts" : "values", name)[row] ?? null;
  // Text and unit of a number that stands for itself, beside none of its column.
  const alone = (name, row) => (has(table.alone, name) && table.alone[name][row]) || [text(name, row), columns.get(name).unit || ""];
  const reason = (name, row) => list("reasons", name)[row] || list("values", "reason")[row] || "not recorded";

  const marked = new Map(Object.entries(table.best).map(([name, rows]) => [name, new Set(rows)]));
  const isBest = (name, row) => marked.has(name) && marked.get(name).has(row);

  // Columns: dimensions, numbers, other texts, each in the usual order, then in that of the frame; the head of the
  // row is not among them.
  const usual = new Set(table.defaults);
  const known = Array.from(new Set([...table.defaults, ...table.columns.map((column) => column.name)]));
  const isDimension = (name) => !columns.get(name).number && usual.has(name) && name !== "kernels" && name !== "reason";
  const place = (name) => (columns.get(name).number ? 1 : isDimension(name) ? 0 : 2);
  const chosen = () => {
    const asked = (state.get("columns") || "").split(",").filter((name) => known.includes(name));
    const names = new Set(asked.length ? asked : table.defaults);
    return [0, 1, 2].flatMap((part) => known.filter((name) => names.has(name) && place(name) === part));
  };

  // Sorting: by what was measured; nulls last either way, and equals in the order of the page.
  const collator = new Intl.Collator("en", { numeric: true });
  const keys = new Map();
  const keysOf = (name) => {
    if (keys.has(name)) return keys.get(name);
    const values = list("values", name);
    let found = values;
    if (!columns.get(name).number) {
      const distinct = Array.from(new Set(values)).filter((one) => one !== null).sort(collator.compare);
      const rank = new Map(distinct.map((one, at) => [one, at]));
      found = values.map((one) => rank.get(one) ?? null);
    }
    keys.set(name, found);
    return found;
  };
  const sorting = () => {
    const asked = state.get("sort") || "";
    const name = asked.replace(/^-/, "");
    return columns.has(name) ? { name, falling: asked.startsWith("-") } : null;
  };
  const sorted = (rows) => {
    const by = sorting();
    if (!by) return rows;
    const key = keysOf(by.name);
    const sign = by.falling ? -1 : 1;
    const there = rows.filter((row) => key[row] !== null);
    there.sort((one, other) => sign * (key[one] - key[other]) || one - other);
    return there.length === rows.length ? there : there.concat(rows.filter((row) => key[row] === null));
  };

  // Searching: every word stands somewhere in the row's texts, every condition holds for its number, in the
  // unit of the column's head.
  const CONDITION = /([\p{L}×][\p{L}\d×_.-]*)\s*(<=|>=|≤|≥|<|>|=)\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=\s|$)/giu;
  const simple = (words) => words.toLowerCase().replace(/[^\p{L}\d×]/gu, "");
  const numberColumn = (word) => {
    const wanted = simple(word);
    if (!wanted) return null;
    const numbers = Array.from(new Set([...chosen(), ...table.defaults, ...known])).map((name) => columns.get(name));
    const fits = [
      (column) => simple(column.name) === wanted || simple(column.title) === wanted,
      (column) => simple(column.title).startsWith(wanted),
      (column) => simple(column.title).includes(wanted),
      (column) => simple(column.name).includes(wanted),
    ];
    for (const fit of fits) {
      const found = numbers.find((column) => column.number && fit(column));
      if (found) return found;
    }
    return null;
  };
  // By the number as measured and as it is read: 4.3125 reads 4.31, so that bits<=4.31 means it and bits>4.31
  // does not.
  const TESTS = {
    "<": (one, read, limit) => one < limit && read !== limit, ">": (one, read, limit) => one > limit && read !== limit,
    "≤": (one, read, limit) => one <= limit || read === limit, "≥": (one, read, limit) => one >= limit || read === limit,
    "=": (one, read, limit) => Math.abs(one - limit) <= 1e-9 * Math.abs(limit) || read === limit,
  };
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const SHOWN = /^([−-]?[\d.]+)(?:×10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?/u;
  // `1.4×10⁷ ± 2`, `−0.3`: the first number of a text, as a number.
  const read = (text) => {
    const [, mantissa, sign, power] = SHOWN.exec(text || "") || [];
    if (mantissa === undefined) return NaN;
    const digits = power ? Array.from(power, (digit) => RAISED.indexOf(digit)).join("") : "0";
    return Number(`${mantissa.replace("−", "-")}e${sign ? "-" : ""}${digits}`);
  };
  const asked = () => {
    const conditions = [];
    const unknown = [];
    const rest = (state.get("search") || "").replace(CONDITION, (whole, word, sign, limit) => {
      const column = numberColumn(word);
      const test = sign.replace("<=", "≤").replace(">=", "≥");
      if (column) conditions.push({ column, test, limit: Number(limit) });
      else unknown.push(word);
      return " ";
    });
    return { words: rest.toLowerCase().split(/\s+/).filter(Boolean), conditions, unknown };
  };
  const SEARCHED = [
    "label", "method", "params", "status", "reason", "suite", "model", "dtype", "device", "runtime", "kernels",
  ];
  let texts = null;
  const haystack = () => {
    if (texts) return texts;
    const lists = [list("texts", "label"), ...SEARCHED.filter((name) => columns.has(name)).map((name) => list("values", name))];
    texts = every.map((row) => lists.map((one) => one[row] || "").join("\n").toLowerCase());
    return texts;
  };

  const options = new Map(table.filters.map((name) => [name, new Set(list("values", name).map(String))]));
  const filters = () =>
    table.filters
      .map((name) => [name, state.get(name)])
      .filter(([name, wanted]) => wanted !== null && options.get(name).has(wanted));

  const rows = () => {
    let found = every;
    for (const [name, wanted] of filters()) {
      const values = list("values", name);
      found = found.filter((row) => String(values[row]) === wanted);
    }
    const { words, conditions } = asked();
    for (const { column, test, limit } of conditions) {
      const values = list("values", column.name);
      const seen = list("texts", column.name);
      const holds = (row) => TESTS[test](values[row] / column.factor, read(seen[row]), limit);
      found = found.filter((row) => values[row] !== null && holds(row));
    }
    if (words.length) {
      const hay = haystack();
      const ids = list("values", "cell_id"); // hexadecimal: a short word would stand in many by chance
      const holds = (word, row) => hay[row].includes(word) || (word.length > 5 && ids[row].startsWith(word));
      found = found.filter((row) => words.every((word) => holds(word, row)));
    }
    return sorted(found === every ? every.slice() : found);
  };

  return {
    table, columns, value, text, alone, reason, isBest, isDimension, chosen, sorting, filters, asked, rows,
    warm: haystack,
    key: (row) => table.keys[row],
  };
})();
