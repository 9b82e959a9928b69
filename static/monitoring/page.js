// Draws every metric and asks for news every five seconds.
"use strict";

(() => {
  const page = document.getElementById("monitoring");
  const words = JSON.parse(document.getElementById("words").textContent);
  const state = document.getElementById("state");
  const EVERY = 5000;
  const plots = new Map();
  // The first and last second on every time axis.
  let span = [0, 1];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figures = new Intl.NumberFormat(page.dataset.language, { maximumSignificantDigits: 4 });
  // On an axis there is room for 1.8M, not for 1,839,000.
  const short = new Intl.NumberFormat(page.dataset.language, {
    notation: "compact", maximumSignificantDigits: 3,
  });
  const clock = new Intl.DateTimeFormat(page.dataset.language, {
    dateStyle: "short", timeStyle: "medium", timeZone: page.dataset.zone,
  });
  const time = new Intl.DateTimeFormat(page.dataset.language, {
    timeStyle: "short", timeZone: page.dataset.zone,
  });
  const day = new Intl.DateTimeFormat(page.dataset.language, {
    dateStyle: "short", timeZone: page.dataset.zone,
  });
  const show = (value) => (value === null || value === undefined ? "–" : figures.format(value));

  // The time of each mark, and the day below it where another one begins.
  function moments(_plot, marks, _axis, _space, step) {
    let shown = "";
    return marks.map((mark) => {
      const moment = new Date(mark * 1000);
      const name = day.format(moment);
      if (step >= 86400) return name;
      const line = name === shown ? "" : `\n${name}`;
      shown = name;
      return time.format(moment) + line;
    });
  }

  function options(width, withHigh) {
    const ink = style("--ink");
    const grid = { stroke: style("--line"), width: 1 };
    const series = [
      {},
      { label: withHigh ? page.dataset.average : page.dataset.value, stroke: style("--accent"), width: 1.5 },
    ];
    if (withHigh) series.push({ label: page.dataset.p95, stroke: style("--bad"), width: 1 });
    return {
      width, height: 140, legend: { show: false }, cursor: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), page.dataset.zone),
      scales: { x: { range: () => span }, y: { range: (_plot, least, most) => [Math.min(0, least ?? 0), (most || 1) * 1.1] } },
      axes: [{ stroke: ink, grid, ticks: grid, space: 70, values: moments }, {
        stroke: ink, grid, ticks: grid, size: 60,
        values: (_plot, marks) => marks.map((mark) => short.format(mark)),
      }],
      series,
    };
  }

  function draw(section, told) {
    const box = section.querySelector(".plot");
    const withHigh = told.p95.length > 0;
    const data = [told.times, told.values];
    if (withHigh) data.push(told.p95);
    let plot = plots.get(section);
    if (!plot || plot.series.length !== data.length) {
      if (plot) plot.destroy();
      plot = new uPlot(options(box.clientWidth, withHigh), data, box);
      plots.set(section, plot);
    } else {
      plot.setData(data);
    }
    const known = told.values.filter((value) => value !== null);
    const summary = {
      last: known.at(-1),
      least: known.length ? Math.min(...known) : null,
      average: known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null,
      most: known.length ? Math.max(...known) : null,
    };
    for (const [name, value] of Object.entries(summary)) {
      section.querySelector(`[data-figure=${name}]`).textContent = show(value);
    }
  }

  function row(cells, name) {
    const line = document.createElement("tr");
    if (name) line.className = name;
    for (const [text, number] of cells) {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (number) cell.className = "number";
      line.append(cell);
    }
    return line;
  }

  function tables(told) {
    document.getElementById("alerts").replaceChildren(...told.alerts.map((alert) => row([
      [alert.rule], [words[alert.state]], [`${alert.metric} (${alert.aggregation})`],
      [show(alert.value), true], [`${words[alert.condition]} ${show(alert.threshold)}`, true],
      [clock.format(new Date(alert.since))],
    ], alert.state)));
    document.getElementById("routes").replaceChildren(...told.routes.map((route) => row([
      [route.route], [show(route.count), true], [show(route.average * 1000), true],
      [show(route.p95 * 1000), true],
    ])));
  }

  async function ask() {
    const range = document.querySelector("#ranges input:checked").value;
    try {
      const answer = await fetch(`${page.dataset.url}?range=${range}`);
      if (!answer.ok) throw new Error(answer.status);
      const told = await answer.json();
      span = [told.start, told.end];
      for (const section of document.querySelectorAll(".chart")) {
        draw(section, told.metrics[section.dataset.metric]);
      }
      tables(told);
      state.className = "";
      state.textContent = told.sampled_at
        ? `${page.dataset.live} ${clock.format(new Date(told.sampled_at))}`
        : page.dataset.silent;
    } catch {
      state.className = "lost";
      state.textContent = page.dataset.lost;
    }
  }

  document.getElementById("ranges").addEventListener("change", ask);
  addEventListener("resize", () => {
    for (const [section, plot] of plots) {
      plot.setSize({ width: section.querySelector(".plot").clientWidth, height: 140 });
    }
  });
  ask();
  setInterval(ask, EVERY);
})();
