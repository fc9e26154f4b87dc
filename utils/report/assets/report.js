"use strict";
// The part of the page that shows one run at a time; everything it shows is in the element #data.

const DATA = JSON.parse(document.getElementById("data").textContent);
const DASH = "6 3";
const TRAINING = { name: "training", colour: "c0" }, VALIDATION = { name: "validation", colour: "c1", dash: DASH };

function selector(parent, title, names, choose) {
  const label = htmlElement("label", "", parent, title);
  const select = htmlElement("select", "", label);
  names.forEach((name, k) => { htmlElement("option", "", select, name).value = String(k); });
  select.addEventListener("change", () => choose(Number(select.value)));
  return select;
}

function card(parent, title, wide = false) {
  const element = htmlElement("div", wide ? "card wide" : "card", parent);
  htmlElement("h4", "", element, title);
  return element;
}

function section(parent, title, hint, className = "cards") {
  htmlElement("h3", "", parent, title);
  if (hint) htmlElement("p", "hint", parent, hint);
  return htmlElement("div", className, parent);
}

function showFacts(parent, run) {
  if (run.labels) htmlElement("p", "warning", parent, `Not a paper result: ${run.labels}`);
  const list = htmlElement("dl", "facts", parent);
  for (const [name, value] of run.facts) {
    const entry = htmlElement("div", "", list);
    htmlElement("dt", "", entry, name);
    htmlElement("dd", "", entry, value);
  }
}

// Milliseconds of every step: written out where steps differ (months), else as the first one and the step.
function timesOf(sample) {
  if (sample.times) return sample.times;
  return Array.from({ length: sample.num_steps }, (_, k) => sample.first_time + k * sample.time_step);
}

function showForecasts(parent, run) {
  const forecasts = run.forecasts;
  if (!forecasts) return;
  htmlElement("h3", "", parent, "Forecasts against truth");
  if (forecasts.note) htmlElement("p", "hint", parent, forecasts.note);
  const controls = htmlElement("div", "controls", parent), place = htmlElement("div", "cards", parent);
  const chosen = { sample: 0, channel: forecasts.columns.length - 1 };
  const draw = () => {
    place.replaceChildren();
    const sample = forecasts.samples[chosen.sample], name = forecasts.columns[chosen.channel];
    const times = timesOf(sample), start = sample.num_past, truth = sample.truth[chosen.channel];
    const box = card(place, `${name}, original units${run.labels ? ` (${run.labels})` : ""}`, true);
    const lines = [
      { name: "look-back window", colour: "past", xs: times.slice(0, start), ys: truth.slice(0, start) },
      { name: "truth", colour: "c0", xs: times.slice(start - 1), ys: truth.slice(start - 1) },
      { name: "forecast", colour: "c1", dash: DASH, width: 2, xs: times.slice(start), ys: sample.forecast[chosen.channel] },
    ];
    legend(box, lines);
    lineChart(box, `Forecast of ${name}`, lines, { height: 300, dated: true, shadeFrom: times[start] });
  };
  const columns = selector(controls, "channel", forecasts.columns, (k) => { chosen.channel = k; draw(); });
  columns.value = String(chosen.channel);
  selector(controls, "forecast from", forecasts.samples.map((sample) => dateText(timesOf(sample)[sample.num_past])), (k) => { chosen.sample = k; draw(); });
  draw();
}

function showCurves(parent, run) {
  if (!Object.keys(run.curves).length) return;
  const cards = section(parent, "Training curves", "Each loss term by epoch; the weights of the epoch with the best validation MSE were tested.");
  for (const [term, parts] of Object.entries(run.curves)) {
    const box = card(cards, term);
    const lines = [TRAINING, VALIDATION].filter((part) => parts[part.name]).map((part) => ({ ...part, xs: parts[part.name][0], ys: parts[part.name][1] }));
    legend(box, lines);
    lineChart(box, `${term} by epoch`, lines, { xLabel: "epoch", whole: true });
  }
}

function showErrors(parent, run) {
  for (const [data, test] of Object.entries(run.tests)) {
    if (!test.per_step && !test.per_channel) continue;
    const cards = section(parent, `Test error on ${data}`);
    if (test.per_step) showErrorBySteps(cards, run, data);
    if (test.per_channel) showErrorByChannel(cards, test.per_channel);
  }
}

// Beside the other models of the same cell: the same data, look-back and horizon, and the same seed if there is one.
function showErrorBySteps(cards, run, data) {
  const rivals = new Map([[run.name, run]]);
  for (const other of DATA.runs) {
    const known = rivals.get(other.name);
    if (other.cell === run.cell && other.tests[data]?.per_step && (!known || (known !== run && other.seed === run.seed))) rivals.set(other.name, other);
  }
  for (const measure of ["mse", "mae"]) {
    const box = card(cards, `${measure.toUpperCase()} by horizon step, scaled units`);
    const lines = [...rivals.values()].slice(0, 6).filter((other) => other.tests[data].per_step[measure]).map((other, k) => {
      const ys = other.tests[data].per_step[measure];
      return { name: other.name, colour: `c${k}`, dash: k ? ["6 3", "2 3", "8 3 2 3", "4 4", "1 2"][k - 1] : "", xs: ys.map((_, step) => step + 1), ys };
    });
    legend(box, lines);
    lineChart(box, `${measure} by horizon step`, lines, { xLabel: "time steps ahead", xName: "step", whole: true });
  }
}

function showErrorByChannel(cards, channels) {
  const box = card(cards, "MSE by channel, scaled units");
  if (channels.note) htmlElement("p", "hint", box, channels.note);
  const rows = channels.columns.map((name, k) => ({ name, value: channels.mse[k], note: numberText(channels.mse[k]) }));
  barChart(box, "MSE by channel", rows);
  if (!channels.mae_original) return;
  const original = card(cards, "MAE by channel, original units");
  const texts = channels.columns.map((name, k) => ({ name, value: channels.mae_original[k], note: numberText(channels.mae_original[k]) }));
  barChart(original, "MAE by channel in original units", texts, { colour: "c2" });
}

function showAlignment(parent, run) {
  const alignment = run.alignment;
  if (!alignment) return;
  const cards = section(parent, "Alignment of the two branches", `Time-series tokens and scaled text tokens of ${alignment.num_rows} validation rows, averaged over tokens. A pair is positive when both come from the same row.`, "cards two");
  for (const stage of alignment.stages) {
    const box = card(cards, `Cosine similarity, ${stage.name} training`);
    const groups = [{ name: `positive pairs, mean ${numberText(stage.positive.mean)}`, colour: "c1", ...stage.positive }, { name: `negative pairs, mean ${numberText(stage.negative.mean)}`, colour: "c0", ...stage.negative }];
    legend(box, groups.map((group) => ({ ...group, dot: true })));
    histogramChart(box, `Similarity ${stage.name} training`, groups, { xLabel: "cosine similarity" });
  }
  const points = alignment.stages.flatMap((stage) => [...stage.time_points, ...stage.text_points]);
  for (const stage of alignment.stages) {
    const box = card(cards, `Projection, ${stage.name} training`);
    const groups = [{ name: "time series", colour: "c0", points: stage.time_points }, { name: "text, scaled", colour: "c1", points: stage.text_points }];
    legend(box, groups.map((group) => ({ ...group, dot: true })));
    scatterChart(box, `Projection ${stage.name} training`, groups, { points, pairs: true, xLabel: `first two principal components (${alignment.explained} of the variance)` });
  }
  for (const [quantity, title] of [["norm", "Norm of the token mean"], ["std", "Deviation over tokens"]]) {
    const rows = alignment.stages.flatMap((stage) => (stage[quantity] || []).map((row) => ({ ...row, name: `${row.name}, ${stage.name}` })));
    if (!rows.length) continue;
    const box = card(cards, `${title} (dot: median of the rows, bar: middle half, log scale)`, true);
    rangeChart(box, title, rows);
  }
}

function showRun(place, run) {
  place.replaceChildren();
  showFacts(place, run);
  for (const show of [showForecasts, showCurves, showErrors, showAlignment]) show(place, run);
  if (run.problems.length) htmlElement("p", "hint", place, `Not shown: ${run.problems.join("; ")}`);
}

const explorer = document.getElementById("explorer");
if (explorer && DATA.runs.length) {
  explorer.replaceChildren();
  const controls = htmlElement("div", "controls", explorer), place = htmlElement("div", "", explorer);
  selector(controls, "run", DATA.runs.map((run) => run.title), (k) => showRun(place, DATA.runs[k]));
  showRun(place, DATA.runs[0]);
}
