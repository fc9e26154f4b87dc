"use strict";
// Small charts in SVG. Names come from data files, so they are only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function svgElement(tag, attributes, parent, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function htmlElement(tag, className, parent, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function numberText(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

// All ticks of an axis in one notation, with as many digits as tell them apart.
function tickTexts(ticks) {
  const texts = ticks.map(numberText);
  if (!texts.some((text) => text.includes("e"))) {
    const digits = (tick) => (String(Number(tick.toPrecision(8))).split(".")[1] || "").length;
    const most = Math.min(6, Math.max(0, ...ticks.map(digits)));
    return ticks.map((tick) => tick.toFixed(most));
  }
  return ticks.map((tick) => (Math.abs(tick) < 1e-15 ? "0" : tick.toExponential(Math.abs(ticks[1] - ticks[0]) < Math.abs(tick) / 20 ? 2 : 1).replace("e+", "e")));
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  if (low === high) return [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
  return [low, high];
}

function padded([low, high], share = 0.05) {
  const room = (high - low) * share;
  return [low - room, high + room];
}

function niceTicks([low, high], count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) ticks.push(k * step);
  return ticks;
}

function wholeTicks(domain, count) {
  return niceTicks(domain, count).filter((tick) => Math.abs(tick - Math.round(tick)) < 1e-9);
}

const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const FIXED_STEPS = [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 10 * DAY];
const MONTH_STEPS = [1, 2, 3, 6, 12, 24, 60, 120];

function dateTicks([low, high], count) {
  const rough = (high - low) / Math.max(1, count);
  const step = FIXED_STEPS.find((candidate) => candidate >= rough);
  if (step) {
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
    return ticks;
  }
  const months = MONTH_STEPS.find((candidate) => candidate * 30 * DAY >= rough) || 240;
  const first = new Date(low), ticks = [];
  for (let k = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months; ; k += months) {
    const tick = Date.UTC(Math.floor(k / 12), k % 12, 1);
    if (tick > high) return ticks;
    if (tick >= low) ticks.push(tick);
  }
}

function dateText(milliseconds) {
  return new Date(milliseconds).toISOString().slice(0, 16).replace("T", " ");
}

function shortDateText(milliseconds) {
  const text = dateText(milliseconds);
  return text.endsWith("00:00") ? text.slice(0, 10) : text.slice(5);
}

// Draws anew whenever the width changes, so that text keeps its size on a phone.
function chart(parent, label, draw) {
  const holder = htmlElement("div", "chart", parent);
  let drawnWidth = 0;
  const redraw = () => {
    const width = Math.floor(holder.clientWidth);
    if (width < 40 || width === drawnWidth) return;
    drawnWidth = width;
    holder.replaceChildren();
    draw(holder, width, label);
  };
  new ResizeObserver(redraw).observe(holder);
  redraw();
}

function canvas(holder, width, height, label) {
  return svgElement("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, holder);
}

function plotFrame(holder, width, label, options) {
  const { height = 190, xDomain, yDomain, xLabel = "", dated = false, whole = false, xText = numberText } = options;
  const yTicks = niceTicks(yDomain, height / 42);
  const yTexts = tickTexts(yTicks), widest = Math.max(...yTexts.map((text) => text.length));
  const left = 10 + 6.4 * widest, right = 12, top = 8, bottom = xLabel ? 38 : 24;
  const root = canvas(holder, width, height, label);
  const x = (value) => left + ((value - xDomain[0]) / (xDomain[1] - xDomain[0])) * (width - left - right);
  const y = (value) => height - bottom - ((value - yDomain[0]) / (yDomain[1] - yDomain[0])) * (height - top - bottom);
  const back = svgElement("g", {}, root);
  yTicks.forEach((tick, k) => {
    svgElement("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }, root);
    svgElement("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, root, yTexts[k]);
  });
  const room = Math.max(2, Math.floor((width - left) / (dated ? 92 : 70)));
  const xTicks = dated ? dateTicks(xDomain, room) : whole ? wholeTicks(xDomain, room) : niceTicks(xDomain, room);
  svgElement("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }, root);
  for (const tick of xTicks) {
    const text = dated ? shortDateText(tick) : xText(tick);
    const half = text.length * 3.1;
    const place = Math.min(Math.max(x(tick), half), width - half);
    svgElement("line", { class: "axis", x1: x(tick), x2: x(tick), y1: height - bottom, y2: height - bottom + 4 }, root);
    svgElement("text", { x: place, y: height - bottom + 16, "text-anchor": "middle" }, root, text);
  }
  if (xLabel) svgElement("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, root, xLabel);
  return { root, back, x, y, left, right: width - right, top, bottom: height - bottom };
}

function linePath(frame, xs, ys) {
  let path = "", pen = "M";
  ys.forEach((value, k) => {
    if (value === null) { pen = "M"; return; }
    path += `${pen}${frame.x(xs[k]).toFixed(1)} ${frame.y(value).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

// series: [{name, xs, ys, colour, dash}]; shadeFrom: an x from which the background is tinted.
function lineChart(parent, label, series, options = {}) {
  const all = series.flatMap((line) => line.ys);
  const yDomain = padded(extent(all));
  const xDomain = extent(series.flatMap((line) => [line.xs[0], line.xs[line.xs.length - 1]]));
  chart(parent, label, (holder, width) => {
    const frame = plotFrame(holder, width, label, { ...options, xDomain, yDomain });
    if (options.shadeFrom !== undefined) {
      const from = frame.x(options.shadeFrom);
      svgElement("rect", { class: "shade", x: from, y: frame.top, width: frame.right - from, height: frame.bottom - frame.top }, frame.back);
    }
    for (const line of series) {
      const style = { d: linePath(frame, line.xs, line.ys), fill: "none", stroke: `var(--${line.colour})`, "stroke-width": line.width || 1.6, "stroke-linejoin": "round" };
      if (line.dash) style["stroke-dasharray"] = line.dash;
      svgElement("path", style, frame.root);
      if (line.xs.length <= 30 && !options.dated) {
        line.xs.forEach((value, k) => {
          if (line.ys[k] !== null) svgElement("circle", { cx: frame.x(value), cy: frame.y(line.ys[k]), r: 2.4, fill: `var(--${line.colour})` }, frame.root);
        });
      }
    }
    readout(holder, frame, series, options);
  });
}

// What the lines say under the pointer.
function readout(holder, frame, series, options) {
  const cursor = svgElement("line", { class: "axis", y1: frame.top, y2: frame.bottom, visibility: "hidden" }, frame.root);
  const tip = htmlElement("div", "tip", holder);
  tip.hidden = true;
  const xs = [...new Set(series.flatMap((line) => line.xs))].sort((a, b) => a - b);
  const places = series.map((line) => new Map(line.xs.map((value, k) => [value, k])));
  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  holder.onpointerleave = hide;
  holder.onpointermove = (event) => {
    const at = event.clientX - holder.getBoundingClientRect().left;
    if (at < frame.left - 8 || at > frame.right + 8) { hide(); return; }
    const nearest = xs.reduce((best, value) => (Math.abs(frame.x(value) - at) < Math.abs(frame.x(best) - at) ? value : best));
    const lines = series.flatMap((line, k) => (places[k].has(nearest) ? [`${line.name}  ${numberText(line.ys[places[k].get(nearest)])}`] : []));
    tip.textContent = [options.dated ? dateText(nearest) : `${options.xName || options.xLabel || ""} ${numberText(nearest)}`.trim(), ...lines].join("\n");
    tip.hidden = false;
    const place = frame.x(nearest);
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    cursor.setAttribute("visibility", "visible");
    tip.style.left = `${place + tip.offsetWidth + 12 > holder.clientWidth ? Math.max(0, place - tip.offsetWidth - 8) : place + 8}px`;
  };
}

function legend(parent, entries) {
  const list = htmlElement("ul", "legend", parent);
  for (const { name, colour, dash, dot } of entries) {
    const item = htmlElement("li", "", list);
    const mark = svgElement("svg", { viewBox: "0 0 26 9", "aria-hidden": "true" }, item);
    if (dot) svgElement("circle", { cx: 13, cy: 4.5, r: 4, fill: `var(--${colour})` }, mark);
    else svgElement("line", { x1: 0, x2: 26, y1: 4.5, y2: 4.5, stroke: `var(--${colour})`, "stroke-width": 2.4, ...(dash ? { "stroke-dasharray": dash } : {}) }, mark);
    item.append(name);
  }
}

// rows: [{name, value, note}], one horizontal bar each, from zero.
function barChart(parent, label, rows, options = {}) {
  const highest = Math.max(...rows.map((row) => row.value || 0)) || 1;
  chart(parent, label, (holder, width) => {
    const line = 20, longest = Math.max(...rows.map((row) => row.name.length));
    const left = Math.min(width * 0.42, 10 + 6.3 * longest), right = Math.max(...rows.map((row) => row.note.length)) * 6.1 + 12;
    const root = canvas(holder, width, rows.length * line + 6, label);
    const limit = Math.floor((left - 8) / 6.3);
    rows.forEach((row, k) => {
      const shown = row.name.length > limit ? `${row.name.slice(0, limit - 1)}…` : row.name;
      const size = Math.max(1, ((row.value || 0) / highest) * (width - left - right));
      svgElement("text", { x: left - 8, y: k * line + 15, "text-anchor": "end" }, root, shown);
      svgElement("rect", { x: left, y: k * line + 5, width: size, height: line - 7, rx: 2, fill: `var(--${options.colour || "c0"})` }, root);
      svgElement("text", { x: left + size + 6, y: k * line + 15 }, root, row.note);
    });
  });
}

// groups: [{name, colour, edges, counts}], outlines over one another.
function histogramChart(parent, label, groups, options = {}) {
  const series = groups.map((group) => {
    const xs = [], ys = [], total = group.counts.reduce((sum, count) => sum + count, 0) || 1;
    group.counts.forEach((count, k) => { xs.push(group.edges[k], group.edges[k + 1]); ys.push(count / total, count / total); });
    return { ...group, xs, ys };
  });
  const yDomain = [0, extent(series.flatMap((group) => group.ys))[1] * 1.05];
  chart(parent, label, (holder, width) => {
    const frame = plotFrame(holder, width, label, { ...options, xDomain: [-1, 1], yDomain });
    for (const group of series) {
      const outline = `${linePath(frame, group.xs, group.ys)}L${frame.x(1)} ${frame.y(0)}L${frame.x(-1)} ${frame.y(0)}Z`;
      svgElement("path", { d: outline, fill: `var(--${group.colour})`, "fill-opacity": 0.22, stroke: `var(--${group.colour})`, "stroke-width": 1.5 }, frame.root);
    }
  });
}

// groups: [{name, colour, points: [[x, y]]}]; pairs: joins the k-th points of the first two groups.
function scatterChart(parent, label, groups, options = {}) {
  const xDomain = padded(extent(options.points.map((point) => point[0]))), yDomain = padded(extent(options.points.map((point) => point[1])));
  chart(parent, label, (holder, width) => {
    const frame = plotFrame(holder, width, label, { height: 260, xDomain, yDomain, xLabel: options.xLabel });
    if (options.pairs) {
      groups[0].points.forEach((from, k) => {
        const to = groups[1].points[k];
        svgElement("line", { x1: frame.x(from[0]), y1: frame.y(from[1]), x2: frame.x(to[0]), y2: frame.y(to[1]), class: "grid", "stroke-opacity": 0.8 }, frame.root);
      });
    }
    for (const group of groups) {
      for (const [px, py] of group.points) svgElement("circle", { cx: frame.x(px), cy: frame.y(py), r: 2.6, fill: `var(--${group.colour})`, "fill-opacity": 0.75 }, frame.root);
    }
  });
}

// rows: [{name, colour, low, middle, high}]: the middle half of the rows as a bar, the median as a dot, on a log axis.
function rangeChart(parent, label, rows, options = {}) {
  const values = rows.flatMap((row) => [row.low, row.middle, row.high]).filter((value) => value > 0).map(Math.log10);
  const [low, high] = padded(extent(values), 0.08);
  chart(parent, label, (holder, width) => {
    const line = 24, left = Math.min(width * 0.46, 10 + 6.3 * Math.max(...rows.map((row) => row.name.length))), right = 58;
    const height = rows.length * line + 8, root = canvas(holder, width, height, label);
    const x = (value) => left + ((Math.log10(Math.max(value, 1e-12)) - low) / (high - low)) * (width - left - right);
    svgElement("line", { class: "axis", x1: left, x2: left, y1: 0, y2: height }, root);
    rows.forEach((row, k) => {
      const middle = k * line + 14, stroke = `var(--${row.colour})`;
      svgElement("text", { x: left - 8, y: middle + 4, "text-anchor": "end" }, root, row.name);
      svgElement("line", { x1: x(row.low), x2: Math.max(x(row.high), x(row.low) + 2), y1: middle, y2: middle, stroke, "stroke-width": 7, "stroke-opacity": 0.35, "stroke-linecap": "round" }, root);
      svgElement("circle", { cx: x(row.middle), cy: middle, r: 4.5, fill: stroke }, root);
      svgElement("text", { x: Math.max(x(row.high), x(row.middle)) + 10, y: middle + 4 }, root, numberText(row.middle));
    });
  });
}
