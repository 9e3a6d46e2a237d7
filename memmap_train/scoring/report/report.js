// Draws the charts of the page from its tables, and lets the reader examine them.
//
// The numbers stand in the page once, in its tables. `meta` has the Vega-Lite specifications of the
// charts, the labels of all eras in the order of time, and the colours of the models. Vega draws;
// the cursor, its values, the range of eras and the shown models are common to all charts of eras.
(() => {
  "use strict";
  const meta = JSON.parse(document.getElementById("meta").textContent);
  const position = new Map(meta.labels.map((label, i) => [label, meta.first + i]));
  const whole = [meta.first - 0.5, meta.first + meta.labels.length - 0.5];
  const charts = [];
  const hidden = new Set();
  let range = whole;
  let changes = 0; // that are being drawn

  const element = (name, className, parent) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (parent) parent.append(made);
    return made;
  };
  const number = (text) => (text === "" ? null : Number(text.replace("\u2212", "-").replace("%", "")));

  // -- the numbers of the tables ------------------------------------------------------------------

  // A row for each era of each model, with a field for each column.
  function eraRows() {
    const rows = [];
    for (const table of document.querySelectorAll("table[data-model]")) {
      const keys = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.key);
      const m = Number(table.dataset.model);
      for (const line of table.tBodies[0].rows) {
        const row = { m, i: position.get(line.cells[0].textContent.trim()) };
        keys.forEach((key, k) => { if (key) row[key] = number(line.cells[k].textContent.trim()); });
        rows.push(row);
      }
    }
    return rows;
  }

  // A row for each cell of a table whose columns are models.
  function cellRows(table) {
    const columns = [...table.tHead.rows[0].cells].slice(1);
    return [...table.tBodies[0].rows].flatMap((line, j) =>
      columns.map((column, k) => ({
        m: Number(column.dataset.series), s: column.textContent.trim(), j,
        name: line.cells[0].textContent.trim(),
        x: number(line.cells[0].dataset.x || ""), y: number(line.cells[k + 1].textContent.trim()),
      })).filter((row) => row.y !== null));
  }

  // -- drawing ------------------------------------------------------------------------------------

  const byEra = eraRows();

  async function draw(figure) {
    const spec = { ...meta.charts[figure.id], config: meta.config };
    const isOfEras = "eras" in figure.dataset;
    const plot = figure.querySelector(".plot");
    spec.params = [
      ...(spec.params || []),
      { name: "hidden", value: [...hidden] },
      ...(isOfEras ? [{ name: "labels", value: meta.labels }, { name: "first", value: meta.first }, { name: "lo", value: range[0] },
        { name: "hi", value: range[1] }] : []),
    ];
    const table = figure.querySelector("table");
    spec.datasets = { rows: isOfEras ? byEra : table ? cellRows(table) : [] };
    const { view } = await vegaEmbed(plot.querySelector(".drawing"), spec, {
      actions: false, renderer: "svg", tooltip: false, mode: "vega-lite", logLevel: 1,
    });
    const chart = { figure, plot, view, isOfEras, along: figure.dataset.along || "x", at: null, stops: [] };
    chart.cursor = element("div", "cursor", plot);
    chart.cursor.hidden = true;
    chart.dots = [];
    charts.push(chart);
    listen(chart);
    measure(chart);
    view.addResizeListener(() => measure(chart));
    plot.dataset.drawn = chart.stops.length;
  }

  // Collect the points that Vega has drawn, by their place along the chart's axis.
  function measure(chart) {
    const [left, top] = chart.view.origin();
    const found = new Map();
    const visit = (mark) => {
      for (const item of mark.items || []) {
        if (mark.name === "hover_marks" && item.datum) {
          const key = item.datum.i ?? (chart.along === "x" ? item.datum.x : item.datum.j);
          if (!found.has(key)) found.set(key, { key, points: [] });
          const isBar = mark.marktype === "rect";
          const px = left + item.x + (isBar ? item.width / 2 : 0);
          const py = top + item.y + (isBar && item.datum.y < 0 ? item.height : 0);
          found.get(key).points.push({ ...item.datum, px, py });
        } else if (item.items) {
          visit(item);
        } else if (item.marktype || mark.marktype === "group") {
          visit(item);
        }
      }
    };
    visit(chart.view.scenegraph().root);
    const width = chart.view.width();
    chart.area = { left, top, width, height: chart.view.height() };
    const isInside = (p) => p.px > left - 1 && p.px < left + width + 1;
    for (const [key, stop] of found) {
      stop.points = stop.points.filter(isInside);
      if (!stop.points.length) found.delete(key);
    }
    chart.stops = [...found.values()].sort((a, b) => a.key - b.key);
    for (const stop of chart.stops) {
      const p = stop.points[0];
      stop.place = chart.along === "x" ? p.px : p.py;
    }
    hide(chart);
  }

  // -- the cursor ---------------------------------------------------------------------------------

  const tip = element("div", "tip", document.body);
  tip.hidden = true;
  const live = element("div", "skip", document.body);
  live.setAttribute("aria-live", "polite");

  const format = (text, value) => (text === "d" ? String(value) : value.toFixed(Number(text)));

  function hide(chart) {
    chart.cursor.hidden = true;
    chart.dots.forEach((dot) => dot.remove());
    chart.dots = [];
    chart.at = null;
  }

  function mark(chart, stop) {
    hide(chart);
    const { left, top, width, height } = chart.area;
    const style = chart.cursor.style;
    chart.cursor.hidden = false;
    if (chart.along === "x") {
      Object.assign(style, { left: `${stop.place}px`, top: `${top}px`, width: "1px", height: `${height}px` });
    } else {
      Object.assign(style, { left: `${left}px`, top: `${stop.place}px`, width: `${width}px`, height: "1px" });
    }
    for (const p of stop.points) {
      const dot = element("div", "dot", chart.plot);
      Object.assign(dot.style, { left: `${p.px}px`, top: `${p.py}px`, background: colour(p.m) });
      chart.dots.push(dot);
    }
    chart.at = chart.stops.indexOf(stop);
  }

  const colour = (m) => (meta.models[m] || meta.models[0]).colour;

  function show(chart, stop) {
    for (const other of charts) {
      if (other !== chart && other.isOfEras && chart.isOfEras) {
        const same = other.stops.find((one) => one.key === stop.key);
        if (same) mark(other, same); else hide(other);
      } else if (other !== chart) {
        hide(other);
      }
    }
    mark(chart, stop);
    const { unit, digits } = chart.figure.dataset;
    const name = chart.isOfEras ? meta.labels[stop.key - meta.first] : stop.points[0].name;
    tip.replaceChildren();
    element("b", "", tip).textContent = `${unit ? `${unit} ` : ""}${name}`;
    for (const p of [...stop.points].sort((a, b) => b.y - a.y)) {
      const line = element("div", "", tip);
      const key = element("i", "", line);
      key.style.cssText = `width:10px;height:10px;border-radius:50%;background:${colour(p.m)}`;
      element("span", "", line).textContent = p.s || meta.models[p.m].name;
      element("span", "", line).textContent = format(digits, p.y);
    }
    tip.hidden = false;
    const box = chart.plot.getBoundingClientRect();
    const x = box.left + (chart.along === "x" ? stop.place : chart.area.left + chart.area.width / 2);
    const y = box.top + (chart.along === "x" ? chart.area.top + 8 : stop.place + 8);
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, x + 14 + width < innerWidth ? x + 14 : x - 14 - width)}px`;
    tip.style.top = `${Math.max(6, Math.min(y, innerHeight - height - 6))}px`;
    live.textContent = tip.innerText;
  }

  function leave() {
    tip.hidden = true;
    charts.forEach(hide);
  }

  function nearest(chart, event) {
    const box = chart.plot.getBoundingClientRect();
    const at = chart.along === "x" ? event.clientX - box.left : event.clientY - box.top;
    let best = null;
    for (const stop of chart.stops) {
      if (!best || Math.abs(stop.place - at) < Math.abs(best.place - at)) best = stop;
    }
    return best;
  }

  function listen(chart) {
    const { plot } = chart;
    let from = null;
    let box = null;
    const end = () => { from = null; if (box) box.remove(); box = null; };
    plot.addEventListener("pointermove", (event) => {
      const stop = nearest(chart, event);
      if (!stop) return;
      show(chart, stop);
      if (from && from.key !== stop.key) {
        box = box || element("div", "range", plot);
        const [low, high] = [from.place, stop.place].sort((a, b) => a - b);
        Object.assign(box.style, { left: `${low}px`, width: `${high - low}px`,
          top: `${chart.area.top}px`, height: `${chart.area.height}px` });
      }
    });
    plot.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0 && chart.isOfEras) from = nearest(chart, event);
    });
    plot.addEventListener("pointerup", (event) => {
      const stop = from && nearest(chart, event);
      if (stop && Math.abs(stop.key - from.key) >= 1) {
        const [low, high] = [from.key, stop.key].sort((a, b) => a - b);
        zoom([low - 0.5, high + 0.5]);
      }
      end();
    });
    plot.addEventListener("pointerleave", () => { end(); leave(); });
    plot.addEventListener("blur", leave);
    plot.addEventListener("dblclick", () => { if (chart.isOfEras) zoom(whole); });
    plot.addEventListener("keydown", (event) => {
      const last = chart.stops.length - 1;
      const now = chart.at;
      const forward = now === null ? 0 : Math.min(last, now + 1);
      const back = now === null ? last : Math.max(0, now - 1);
      const target = { ArrowRight: forward, ArrowDown: forward, ArrowLeft: back, ArrowUp: back, Home: 0, End: last }[event.key];
      if (event.key === "Escape") leave();
      if (target === undefined || last < 0) return;
      event.preventDefault();
      show(chart, chart.stops[target]);
    });
  }

  // -- what is shown ------------------------------------------------------------------------------

  async function change(signals, chosen) {
    leave();
    changes += 1;
    document.body.dataset.busy = String(changes);
    for (const chart of charts.filter(chosen)) {
      for (const [name, value] of Object.entries(signals)) chart.view.signal(name, value);
      await chart.view.runAsync();
      measure(chart);
    }
    changes -= 1;
    document.body.dataset.busy = String(changes);
  }

  async function zoom(to) {
    range = to;
    for (const button of document.querySelectorAll("[data-last]")) {
      button.setAttribute("aria-pressed", String(same(rangeOf(button), range)));
    }
    await change({ lo: range[0], hi: range[1] }, (chart) => chart.isOfEras);
  }

  const same = (a, b) => a[0] === b[0] && a[1] === b[1];
  const rangeOf = (button) =>
    button.dataset.last ? [whole[1] - Number(button.dataset.last), whole[1]] : whole;

  for (const button of document.querySelectorAll("[data-last]")) {
    button.disabled = false;
    button.addEventListener("click", () => zoom(rangeOf(button)));
  }
  for (const button of document.querySelectorAll("[data-toggle]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const models = button.dataset.toggle.split(" ").map(Number);
      const isShown = button.getAttribute("aria-pressed") === "true";
      models.forEach((m) => (isShown ? hidden.add(m) : hidden.delete(m)));
      button.setAttribute("aria-pressed", String(!isShown));
      change({ hidden: [...hidden] }, () => true);
    });
  }

  (async () => {
    for (const figure of document.querySelectorAll("figure[id]")) {
      if (meta.charts[figure.id]) await draw(figure);
    }
    document.body.dataset.ready = "true";
  })();
})();
