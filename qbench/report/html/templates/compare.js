"use strict";
// Sorting by a click on a head. Without it every row stands, what changed first.
(() => {
  const key = (row, place) => {
    const cell = row.cells[place];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = text === "inf" ? Infinity : parseFloat(text.replace("\u2212", "-").replace(/^[×+] ?/, ""));
    return [number, text];
  };
  const compare = (a, b) => {
    if (!Number.isNaN(a[0]) && !Number.isNaN(b[0])) return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
    if (Number.isNaN(a[0]) !== Number.isNaN(b[0])) return Number.isNaN(a[0]) ? 1 : -1;
    return a[1].localeCompare(b[1]);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [key(row, place), row]);
        rows.sort((a, b) => (down ? -compare(a[0], b[0]) : compare(a[0], b[0])));
        table.tBodies[0].append(...rows.map((pair) => pair[1]));
      });
    });
  }
})();
