"use strict";
// Sorting and filtering the leaderboard.
(() => {
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
})();
