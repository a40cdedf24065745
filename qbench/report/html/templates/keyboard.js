"use strict";
// One cell of the grid takes the focus at a time; arrows move it, Enter or a click opens the row's cell.
(() => {
  const { grid, view, state } = qbench;
  if (!grid) return;
  const { table, body } = grid;
  const scroll = table.parentElement;
  let place = 0; // in the order of the rows
  let across = 0; // in the row

  const lineAt = (wanted) => body.querySelector('tr[aria-rowindex="' + (wanted + 2) + '"]');
  const focusable = (cell) => (cell && cell.querySelector("button")) || cell;
  const target = () => {
    const line = lineAt(place);
    return line ? focusable(line.cells[Math.min(across, line.cells.length - 1)]) : null;
  };

  const rove = () => {
    body.querySelectorAll('[tabindex="0"]').forEach((one) => (one.tabIndex = -1));
    const found = target();
    if (found) found.tabIndex = 0;
    return found;
  };

  const go = (down, right) => {
    const last = grid.rows().length - 1;
    if (last < 0) return;
    place = Math.min(last, Math.max(0, down));
    if (grid.reveal) grid.reveal(place);
    const line = lineAt(place);
    across = Math.min(line.cells.length - 1, Math.max(0, right));
    const found = rove();
    found.focus({ preventScroll: grid.many });
    found.scrollIntoView({ block: "nearest", inline: "nearest" });
  };

  const page = () => Math.max(1, Math.floor(scroll.clientHeight / lineAt(place).offsetHeight) - 2);
  const MOVES = {
    ArrowDown: () => [place + 1, across], ArrowUp: () => [place - 1, across],
    ArrowRight: () => [place, across + 1], ArrowLeft: () => [place, across - 1],
    PageDown: () => [place + page(), across], PageUp: () => [place - page(), across],
    Home: (far) => [far ? 0 : place, 0], End: (far) => [far ? Infinity : place, Infinity],
  };
  scroll.addEventListener("keydown", (event) => {
    const inside = body.contains(event.target);
    if (!inside && event.target !== scroll) return;
    const move = MOVES[event.key];
    if (move && !event.altKey && !event.metaKey) {
      event.preventDefault();
      if (inside) go(...move(event.ctrlKey));
      else go(place, across);
    } else if (event.key === "Enter" && inside && event.target.tagName !== "BUTTON") open(event.target);
  });

  const open = (element) => {
    const line = element.closest("tr[data-row]");
    if (line) state.set("cell", view.key(Number(line.dataset.row)));
  };
  body.addEventListener("click", (event) => {
    if (String(getSelection())) return; // the reader marks a text
    open(event.target);
  });

  // The line under the table says in full what has the focus, or what the pointer is on.
  const say = (event) => {
    const head = event.target.closest("thead th");
    if (head) return grid.show(head.dataset.key, null);
    const cell = event.target.closest("tbody th, tbody td");
    const line = cell && cell.closest("tr[data-row]");
    if (!line) return undefined;
    const name = cell.classList.contains("why") ? "reason" : nameOf(line, cell);
    return grid.show(name, Number(line.dataset.row));
  };
  const nameOf = (line, cell) => {
    const before = Array.from(line.cells).slice(0, cell.cellIndex).reduce((sum, one) => sum + one.colSpan, 0);
    return grid.names()[before];
  };
  table.addEventListener("focusin", (event) => {
    const line = event.target.closest("tr[data-row]");
    if (line) {
      place = Number(line.getAttribute("aria-rowindex")) - 2;
      across = event.target.closest("th, td").cellIndex;
      rove();
    }
    say(event);
  });
  table.addEventListener("pointerover", say);
  grid.onDraw(() => {
    place = 0;
    rove();
  });
})();
