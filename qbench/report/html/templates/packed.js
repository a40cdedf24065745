"use strict";
// Blocks of data that travel packed (JSON, gzip, base64) and are unpacked when they are needed.
qbench.unpack = async (text) => {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack gzip (DecompressionStream is missing); a newer one can.");
  }
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

// An element with text; what it is given is never read as markup.
qbench.element = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// {columns: [{title, number}], rows: [[text]]} as a table whose first column heads each row.
qbench.table = ({ columns, rows }, caption) => {
  const { element } = qbench;
  const head = columns.map(({ title, number }) =>
    element("th", { scope: "col", className: number ? "number" : "", textContent: title }),
  );
  const body = rows.map((row) =>
    element("tr", {}, ...row.map((text, place) => place
      ? element("td", { className: columns[place].number ? "number" : "", textContent: text })
      : element("th", { scope: "row", textContent: text }))),
  );
  return element("table", { className: "numbers" },
    element("caption", { className: "sr", textContent: caption }),
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
};
