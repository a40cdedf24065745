"use strict";
// What every page shares: its blocks of data, the reader's state in the URL's fragment, and the theme.
const qbench = (() => {
  const root = document.documentElement;

  // The JSON block of that name; null where the page has none.
  const data = (name) => {
    const block = document.getElementById("data-" + name);
    return block && JSON.parse(block.textContent);
  };

  // An element with a class and a text; texts are never markup.
  const make = (tag, className = "", text = "") => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };

  // A colour of the theme that shows, by the name of its CSS variable.
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // State: short texts by key, in the fragment, so that a link shows the same view and "back" undoes a step.
  //   get(key)                the text, or null
  //   set(key, text, replace) null or "" removes it; `replace` leaves no step to go back to (while typing)
  //   on(key, fn)             calls fn(text or null) at once and after every change of it; "*": of any, once
  // Whoever reads a text checks it: a fragment may be stale, or written by somebody else.
  const state = (() => {
    const LONGEST = 6000;
    const watchers = [];

    const parse = () => {
      const text = location.hash.slice(1);
      if (text.length > LONGEST || (text && !text.includes("="))) return null; // an anchor is no state
      return new Map(Array.from(new URLSearchParams(text)).filter((pair) => pair[1]));
    };

    let values = parse() || new Map();
    const plain = (text) => encodeURIComponent(text).replace(/%20/g, "+").replace(/%(2C|2F|3A)/g, decodeURIComponent);
    const fragment = () => "#" + Array.from(values, (pair) => pair.map(plain).join("=")).join("&");
    const get = (key) => (values.has(key) ? values.get(key) : null);

    const tell = (keys) => {
      for (const [key, fn] of watchers) if (key === "*" ? keys.length : keys.includes(key)) fn(get(key));
    };

    const set = (key, text, replace = false) => {
      const next = text === null || text === undefined ? "" : String(text);
      if ((get(key) || "") === next) return;
      if (next) values.set(key, next);
      else values.delete(key);
      const address = values.size ? fragment() : location.href.split("#")[0];
      try {
        history[replace ? "replaceState" : "pushState"](null, "", address);
      } catch {
        // A viewer that lets no page write its address: the state then lasts as long as the page.
      }
      tell([key]);
    };

    const on = (key, fn) => {
      watchers.push([key, fn]);
      fn(get(key));
    };

    const follow = () => {
      const next = parse();
      if (!next) return;
      const keys = Array.from(new Set([...values.keys(), ...next.keys()]));
      const changed = keys.filter((key) => values.get(key) !== next.get(key));
      values = next;
      tell(changed);
    };

    addEventListener("popstate", follow);
    addEventListener("hashchange", follow);
    return { get, set, on };
  })();

  // A link to a place on the page leads there and leaves the state alone.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const place = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!place) return;
    event.preventDefault();
    place.scrollIntoView();
    place.focus({ preventScroll: true });
  });

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
  button.addEventListener("click", () => state.set("theme", isDark() ? "light" : "dark", true));
  dark.addEventListener("change", repaint);
  state.on("theme", (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    repaint();
  });

  // Paper: while the page is printed it is laid out as wide as a sheet, in the light theme. `beforeprint` comes
  // before the browser lays out for paper, so that whoever draws then would draw for the screen.
  addEventListener("beforeprint", () => (root.dataset.paper = ""));
  addEventListener("afterprint", () => delete root.dataset.paper);

  // A shadow at the edge behind which a table goes on.
  for (const box of document.querySelectorAll(".scroll")) {
    const hint = () => {
      box.classList.toggle("before", box.scrollLeft > 1);
      box.classList.toggle("after", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    };
    box.addEventListener("scroll", hint, { passive: true });
    const sizes = new ResizeObserver(hint);
    for (const one of [box, ...box.children]) sizes.observe(one);
  }

  // Draws each element that it is told to observe, once, shortly before it comes into view.
  const watcher = (draw) => {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) {
          if (!entry.isIntersecting) continue;
          observer.unobserve(entry.target);
          draw(entry.target);
        }
      },
      { rootMargin: "600px" },
    );
    return observer;
  };

  return { watcher, data, make, colour, onTheme, state };
})();
