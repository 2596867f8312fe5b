"use strict";
// Sorts and filters the tables, shows details, saves drawings. Everything that it shows stands in the page without it.
(() => {
  const root = document.documentElement;
  const each = (selector, work, inside = document) => inside.querySelectorAll(selector).forEach(work);
  const make = (tag, fields, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  root.classList.add("js");

  // Sorting: first the largest number or the first name, then the other way round, then as it was. What is absent stays last.
  const collator = new Intl.Collator("en", { numeric: true });
  const order = ["invalid", "upper bound", "unresolvable", "valid"];
  const valueOf = (cell) => {
    if (!cell) return null;
    if (cell.dataset.metric) return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    const badge = cell.querySelector(".badge");
    if (badge && order.includes(badge.textContent)) return -order.indexOf(badge.textContent);
    const text = cell.textContent.trim();
    return text === "" || text === "–" ? null : cell.tagName !== "TH" && !isNaN(parseFloat(text)) ? parseFloat(text) : text;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? b - a : collator.compare(a, b));
  const sort = (table, column, way) => {
    each("tbody", (body) => {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      rows.forEach((row, i) => (row.dataset.i ??= i));
      const pairs = rows.map((row) => [valueOf(row.cells[column]), Number(row.dataset.i), row]);
      pairs.sort(([a, i], [b, j]) => {
        if (way === "none" || (a === null && b === null)) return i - j;
        if (a === null || b === null) return a === null ? 1 : -1;
        return (way === "descending" ? compare(a, b) : compare(b, a)) || i - j;
      });
      body.append(...pairs.map(([, , row]) => row));
    }, table);
  };
  each("table.sortable", (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const name = head.firstChild.textContent.trim();
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort") || "none";
        const way = { none: "descending", descending: "ascending", ascending: "none" }[now];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (way !== "none") head.setAttribute("aria-sort", way);
        sort(table, column, way);
        said.textContent = way === "none" ? "Rows as they were." : `Rows by ${name}, ${way}.`;
      });
    });
  });

  // Filtering: a row stays where it, or the heading over it, holds every word.
  const said = make("span", { className: "soft", role: "status" });
  const box = make("input", { type: "search", id: "filter", placeholder: "pgd invalid" });
  const tools = document.getElementById("tools");
  if (tools) tools.append(make("label", { htmlFor: "filter" }, "Show rows with "), box, " ", said);
  const blocks = [...document.querySelectorAll(".block")].map((block) => {
    const head = block.querySelector("h3").textContent.toLowerCase();
    const rows = [...block.querySelectorAll(".matrix tbody tr:not(.group)")];
    return { block, rows: rows.map((row) => ({ row, text: `${head} ${row.textContent.toLowerCase()}` })) };
  });
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, all = 0;
    for (const { block, rows } of blocks) {
      for (const { row, text } of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      all += rows.length;
      each("tbody", (body) => (body.hidden = ![...body.rows].some((row) => !row.hidden && !row.classList.contains("group"))), block);
      block.hidden = words.length > 0 && rows.every(({ row }) => row.hidden);
    }
    said.textContent = words.length ? `${shown} of ${all} rows` : "";
  };
  box.addEventListener("input", filter);

  // Details of what the pointer is at; they repeat what the tables say, so no reader depends on them.
  const tip = make("div", { className: "tip", hidden: true });
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  each(".pt > title", (title) => {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  });
  const lines = (at) => {
    if (at.dataset.tip) return at.dataset.tip.split(/: (.*)/s).filter(Boolean);
    const row = at.closest("tr"), table = at.closest("table");
    const head = table.tHead.rows[0].cells[at.cellIndex];
    const figure = at.querySelector(".figure, .absent"), interval = at.querySelector("small");
    const reason = at.querySelector(".absent")?.title;
    const verdict = row.querySelector(".badge")?.textContent, flags = [...row.querySelectorAll("a")].map((a) => a.textContent).join(" ");
    return [
      row.cells[0].querySelector("bdi").textContent, `${at.dataset.label}: ${(figure || at).textContent} ${interval ? interval.textContent : ""}`,
      at.dataset.n && !/\bn\s/.test(interval?.textContent) ? `n = ${at.dataset.n}` : "", reason || "", verdict ? `${verdict} ${flags}` : "", head.title,
    ].filter((line) => line.trim());
  };
  const hide = () => (tip.hidden = true);
  document.addEventListener("pointerover", (event) => {
    const at = event.target.closest?.("[data-tip], td[data-metric]");
    if (!at) return hide();
    tip.replaceChildren(...lines(at).map((line) => make("div", { textContent: line, dir: "auto" })));
    tip.hidden = false;
    const { left, bottom, top } = at.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(left, root.clientWidth - width - 4))}px`;
    tip.style.top = `${bottom + height + 8 < window.innerHeight ? bottom + 6 : Math.max(4, top - height - 6)}px`;
  });
  for (const name of ["pointerdown", "scroll"]) document.addEventListener(name, hide, { passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());

  // Saving: the drawing with its style, in the colours of the light page, as a file that needs nothing else.
  const standalone = (svg) => {
    const copy = svg.cloneNode(true), light = document.styleSheets[0].cssRules[0].style;
    const named = (tag, text) => Object.assign(document.createElementNS(svg.namespaceURI, tag), { textContent: text });
    each("[data-tip]", (at) => {
      at.prepend(named("title", at.dataset.tip));
      delete at.dataset.tip;
    }, copy);
    const css = document.getElementById("plot-style").textContent.replace(/var\((--\w+)\)/g, (_, name) => light.getPropertyValue(name).trim());
    const paper = named("rect", "");
    const { width, height, y } = svg.viewBox.baseVal;
    for (const [name, value] of Object.entries({ width, height, y, fill: light.getPropertyValue("--page").trim() })) paper.setAttribute(name, value);
    copy.querySelector("desc").after(named("style", css), paper);
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    return `<?xml version="1.0" encoding="utf-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
  };
  each("figure.panel", (figure) => {
    const svg = figure.querySelector("svg"), title = svg.querySelector("title");
    const button = make("button", { type: "button", className: "save", textContent: "Save SVG" });
    button.setAttribute("aria-label", `Save as SVG: ${title.textContent}`);
    button.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([standalone(svg)], { type: "image/svg+xml" }));
      make("a", { href: url, download: `${title.id.slice(0, -1)}.svg` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    });
    figure.querySelector("details").before(button);
  });
})();
