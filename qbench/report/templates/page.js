"use strict";
// What every page shares: its blocks of data, and the theme. Every page can be read without it.
const qbench = (() => {
  const root = document.documentElement;

  // The JSON block of that name; null where the page has none.
  const data = (name) => {
    const block = document.getElementById("data-" + name);
    return block && JSON.parse(block.textContent);
  };

  // A colour of the theme that shows, by the name of its CSS variable.
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // Theme: the system's until the reader chooses. Who paints by himself asks to be told.
  const painters = [];
  const onTheme = (paint) => painters.push(paint);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const repaint = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
    painters.forEach((paint) => paint());
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    repaint();
  });
  dark.addEventListener("change", repaint);
  repaint();

  return { data, colour, onTheme };
})();
