"use strict";
// Search, filters and columns: what the reader chooses goes into the state, and the state into the controls.
(() => {
  const { view, grid, state, make: element } = qbench;
  if (!grid) return;
  const form = document.getElementById("filters");
  const search = form.elements.search;
  const selects = Array.from(form.querySelectorAll("select"));
  const clear = document.getElementById("clear");
  const shown = document.getElementById("shown");

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const { name, value } = event.target;
    state.set(name, value, name === "search");
  });
  clear.addEventListener("click", () => {
    for (const name of ["search", ...view.table.filters]) state.set(name, null, true);
    search.focus();
  });

  const say = () => {
    const { conditions, unknown } = view.asked();
    const words = conditions.map(({ column, test, limit }) => {
      const unit = column.unit ? " " + column.unit : "";
      return column.title + " " + test + " " + limit + unit;
    });
    const wrong = unknown.map((word) => "no column of numbers is called “" + word.slice(0, 40) + "”");
    const count = grid.rows().length.toLocaleString("en") + " of " + view.table.rows.toLocaleString("en") + " cells";
    shown.textContent = [count, ...words, ...wrong].join(" · ");
  };

  const follow = () => {
    const active = new Map(view.filters());
    for (const select of selects) {
      select.value = active.get(select.name) || "";
      select.classList.toggle("chosen", Boolean(select.value));
    }
    const words = state.get("search") || "";
    if (search.value !== words) search.value = words;
    clear.hidden = !words && !active.size;
    say();
  };

  // The chooser: every column that holds anything, by group; what is found by its title, name or description.
  const dialog = document.getElementById("chooser");
  const groups = dialog.querySelector(".groups");
  const boxes = new Map();
  const choose = (names) => {
    const usual = view.table.defaults.join() === names.join();
    state.set("columns", usual ? null : names.join(","), true);
  };
  const ticked = () => Array.from(boxes.keys()).filter((name) => boxes.get(name).checked);

  const optionOf = (column) => {
    const option = element("label", "option");
    const box = element("input");
    box.type = "checkbox";
    box.value = column.name;
    boxes.set(column.name, box);
    const words = element("span", "", column.title);
    if (column.unit) words.append(" ", element("small", "", column.unit));
    option.title = column.name + ": " + column.description;
    option.dataset.words = [column.title, column.name, column.description].join(" ").toLowerCase();
    option.append(box, words);
    return option;
  };
  const fill = () => {
    for (const group of view.table.groups) {
      const members = view.table.columns.filter((column) => column.group === group);
      if (!members.length) continue;
      const field = element("fieldset");
      field.append(element("legend", "", group), ...members.map(optionOf));
      groups.append(field);
    }
  };
  const tick = () => {
    const names = new Set(view.chosen());
    for (const [name, box] of boxes) box.checked = names.has(name);
  };
  const find = dialog.querySelector("input[type=search]");
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const option of groups.querySelectorAll(".option")) option.hidden = !words.every((word) => option.dataset.words.includes(word));
    for (const field of groups.children) field.hidden = !field.querySelector(".option:not([hidden])");
  });
  groups.addEventListener("change", () => choose(ticked().length ? ticked() : view.table.defaults));
  document.getElementById("usual").addEventListener("click", () => choose(view.table.defaults));
  document.getElementById("done").addEventListener("click", () => dialog.close());
  document.getElementById("columns").addEventListener("click", () => {
    if (!boxes.size) fill();
    tick();
    dialog.showModal();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });

  // Draw when what the table depends on has changed: not for the theme, nor for the open cell.
  const keys = ["sort", "search", "columns", ...view.table.filters];
  let last = null;
  state.on("*", () => {
    const now = JSON.stringify(keys.map(state.get));
    if (now === last) return;
    last = now;
    grid.draw();
    follow();
    if (dialog.open) tick();
  });
  form.hidden = false;
  document.getElementById("actions").hidden = false;
  (window.requestIdleCallback || setTimeout)(view.warm); // the first letter typed need not wait for it
})();
