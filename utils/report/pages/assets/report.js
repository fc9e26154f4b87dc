"use strict";
// Shows one run at a time. Each figure is plotly JSON, made in Python, in the script element before its place.

const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]] };

function draw(place, figure) {
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const font = figure.layout.font, panel = colour("--panel");
  const theme = {
    font: { ...font, color: colour("--muted") },
    paper_bgcolor: panel,
    plot_bgcolor: panel,
    hoverlabel: { bgcolor: panel, bordercolor: colour("--rule"), namelength: -1, font: { ...font, color: colour("--ink") } },
    modebar: { bgcolor: "transparent", color: colour("--rule"), activecolor: colour("--muted") },
  };
  Plotly.react(place, figure.data, { ...figure.layout, ...theme }, CONFIG);
}

function drawCard(card, choose = (figure) => figure) {
  draw(card.querySelector(".plot"), choose(JSON.parse(card.querySelector("script").textContent)));
}

function drawForecast(place) {
  const [channel, window] = place.querySelectorAll("select");
  drawCard(place.querySelector(".card"), (figures) => figures[window.selectedIndex][channel.selectedIndex]);
}

const chosen = document.querySelector("select[name=run]"), runs = [...document.querySelectorAll(".run")];

function showRun() {
  document.querySelectorAll("#overview .card").forEach((card) => drawCard(card));
  runs.forEach((run, number) => { run.hidden = number !== chosen.selectedIndex; });
  const run = runs[chosen.selectedIndex];
  run.querySelectorAll(".forecasts").forEach(drawForecast);
  run.querySelectorAll(".cards > .card").forEach((card) => drawCard(card));
}

chosen.addEventListener("change", showRun);
document.querySelectorAll(".forecasts").forEach((place) => place.addEventListener("change", () => drawForecast(place)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showRun);
showRun();
