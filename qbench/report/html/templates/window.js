"use strict";
// Of many rows only those near the window stand in the document, between two spacers; all rows are one line high.
// Printing puts in as many as paper can bear, and says how many are left out.
(() => {
  const { grid, make: element } = qbench;
  if (!grid || !grid.many) return;
  const AROUND = 12;
  const PRINTED = 1000;
  const { table, body } = grid;
  const scroll = table.parentElement;
  const left = document.getElementById("unprinted");
  const spacers = ["above", "below"].map((name) => {
    const line = element("tr", "spacer " + name);
    line.setAttribute("aria-hidden", "true");
    return line;
  });
  const sizer = element("tr", "sizer");
  sizer.setAttribute("aria-hidden", "true");
  const { phone } = grid;
  const tall = () => (phone.matches ? 58 : 37); // as the style sheet has it
  let height = tall();
  let from = -1;
  let to = -1;

  // The longest text of every column holds its width, so that columns stand still while rows go by.
  const measure = () => {
    const { view } = qbench;
    const longest = (name) => {
      const packed = name === "label" ? view.table.names : view.table[view.columns.get(name).number ? "texts" : "values"][name];
      return (packed.of || packed).reduce((one, other) => (other && other.length > one.length ? other : one), "–");
    };
    sizer.replaceChildren(...grid.names().map((name) => element("td", view.columns.get(name).number ? "number" : "text", longest(name))));
  };

  const fill = (first, last) => {
    from = first;
    to = last;
    const count = grid.rows().length;
    spacers[0].style.height = first * height + "px";
    spacers[1].style.height = (count - last) * height + "px";
    body.replaceChildren(sizer, spacers[0], ...grid.lines(first, last), spacers[1]);
  };

  const near = () => {
    height = tall();
    const top = Math.max(0, scroll.scrollTop);
    const first = Math.max(0, Math.floor(top / height) - AROUND);
    const seen = Math.max(scroll.clientHeight, innerHeight); // before the first rows stand, the former is nothing
    const last = Math.ceil((top + seen) / height) + AROUND;
    return [first, Math.min(grid.rows().length, last)];
  };

  const move = () => {
    if (!grid.rows().length) return;
    const [first, last] = near();
    if (first >= from && last <= to && last - first > AROUND) return;
    const held = body.contains(document.activeElement);
    fill(Math.max(0, first - AROUND), Math.min(grid.rows().length, last + AROUND));
    if (held && !body.contains(document.activeElement)) scroll.focus({ preventScroll: true });
  };

  table.classList.add("many");
  let columns = "";
  grid.onDraw(() => {
    if (columns !== grid.names().join()) measure();
    columns = grid.names().join();
    scroll.scrollTop = 0;
    if (grid.rows().length) fill(...near());
  });
  let waiting = false;
  scroll.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      move();
    });
  }, { passive: true });
  addEventListener("resize", move);

  // Puts the row at a place of the order into the document and into sight.
  grid.reveal = (place) => {
    const head = table.tHead.offsetHeight;
    const top = place * height;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + height > scroll.scrollTop + scroll.clientHeight - head) scroll.scrollTop = top + height - scroll.clientHeight + head;
    move();
  };

  addEventListener("beforeprint", () => {
    const count = grid.rows().length;
    left.hidden = count <= PRINTED;
    left.textContent = "The first " + PRINTED + " of " + count + " rows are printed; the downloads hold all of them.";
    fill(0, Math.min(count, PRINTED));
    spacers[1].style.height = "0";
  });
  addEventListener("afterprint", () => {
    left.hidden = true;
    fill(...near());
  });
})();
