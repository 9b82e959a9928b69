// Starts runs, watches the one that goes on, draws results.
"use strict";

(() => {
  const page = document.getElementById("dashboard");
  const words = JSON.parse(document.getElementById("words").textContent);
  const byId = (id) => document.getElementById(id);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figures = new Intl.NumberFormat(page.dataset.language, { maximumSignificantDigits: 4 });
  const clock = new Intl.DateTimeFormat(page.dataset.language, {
    dateStyle: "short", timeStyle: "short", timeZone: page.dataset.zone,
  });
  const [day, time] = [{ dateStyle: "short" }, { timeStyle: "short" }].map(
    (style) => new Intl.DateTimeFormat(page.dataset.language, { ...style, timeZone: page.dataset.zone }),
  );
  // In two lines, for an axis.
  const moment = (seconds) => [time, day].map((part) => part.format(seconds * 1000)).join("\n");
  const show = (value) => (value === null || value === undefined ? "–" : figures.format(value));
  // What a run says of itself is in English, in parts that the page may have words for.
  const inWords = (said) => said.split(", ").map((part) => words[part] ?? part).join(", ");
  let shown = null;
  let watched = null;

  async function call(path, options = {}) {
    const answer = await fetch(page.dataset.base + path, options);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.detail ?? answer.status);
    return told;
  }

  function post(path) {
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    return call(path, { method: "POST", headers: { "X-CSRFToken": token } });
  }

  function element(tag, text, name) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function row(cells) {
    const line = document.createElement("tr");
    for (const cell of cells) line.append(cell);
    return line;
  }

  const text = (value) => element("td", value);
  const number = (value) => element("td", show(value), "number");
  const verdict = (told) => told
    ? element("td", `${show(told.ratio)} × (${show(told.low)} – ${show(told.high)}) ${words[told.verdict]}`, told.verdict)
    : text("–");

  function chart(box, name, axis, data, series, x) {
    const section = element("section", "", "chart");
    section.append(element("h3", name));
    box.append(section);
    const ink = style("--ink");
    const grid = { stroke: style("--line"), width: 1 };
    new uPlot({
      width: section.clientWidth - 32, height: 180, cursor: { show: false },
      scales: { x, y: { range: (_plot, _least, most) => [0, (most || 1) * 1.05] } },
      axes: [
        {
          stroke: ink, grid, ticks: grid, label: axis,
          ...(x.time && { space: 70, values: (_plot, marks) => marks.map(moment) }),
        },
        { stroke: ink, grid, ticks: grid, size: 55 },
      ],
      series,
    }, data, section);
  }

  // Both versions on one axis: milliseconds, and how many were answered by then.
  function distribution(box, step) {
    const sorted = ["v1", "v2"].map((side) => step[side].latencies_us.map((us) => us / 1000).sort((a, b) => a - b));
    const marks = [...new Set(sorted.flatMap((values) =>
      [...Array(101).keys()].map((share) => values[Math.min(values.length - 1, Math.floor((share / 100) * values.length))])))]
      .sort((a, b) => a - b);
    const share = (values) => {
      let at = 0;
      return marks.map((mark) => {
        while (at < values.length && values[at] <= mark) at += 1;
        return (100 * at) / values.length;
      });
    };
    chart(box, step.name, page.dataset.ms, [marks, ...sorted.map(share)], [
      { label: page.dataset.ms },
      { label: "v1 %", stroke: style("--bad"), width: 1.5 },
      { label: "v2 %", stroke: style("--accent"), width: 1.5 },
    ], { time: false });
  }

  async function result(id) {
    const run = await call(`/results/${id}`);
    shown = id;
    byId("result-name").textContent = run.name;
    byId("steps").replaceChildren(...run.result.steps.flatMap((step) => ["v1", "v2"].map((side) => row([
      text(step.name), text(run.parameters.same ? "v2" : side), number(step[side].throughput),
      number(step[side].p50_ms), number(step[side].p95_ms), number(step[side].p99_ms),
      number(step[side].cpu_us), number(step[side].queries), number(step[side].errors),
      side === "v2" ? verdict(step.comparison) : text(""),
    ]))));
    byId("environment").textContent = Object.entries(run.result.environment)
      .map(([name, value]) => `${name}: ${value}`).join(" · ") + ` · ${run.result.memory_mb} MB`;
    const box = byId("distributions");
    box.replaceChildren();
    for (const step of run.result.steps) distribution(box, step);
  }

  function trends(runs) {
    const box = byId("trends");
    box.replaceChildren();
    const steps = new Map();
    for (const run of [...runs].reverse()) {
      if (run.parameters.same) continue;
      for (const step of run.result.steps) {
        if (!step.comparison) continue;
        if (!steps.has(step.name)) steps.set(step.name, [[], []]);
        const [times, ratios] = steps.get(step.name);
        times.push(Date.parse(run.created_at) / 1000);
        ratios.push(step.comparison.ratio);
      }
    }
    for (const [name, data] of steps) {
      chart(box, name, "", data, [
        { label: page.dataset.time }, { label: page.dataset.ratio, stroke: style("--accent"), width: 1.5, points: { show: true } },
      // By the data: of a single point uPlot makes a range of years.
      ], { time: true, range: () => [data[0].at(0) - 3600, data[0].at(-1) + 3600] });
    }
  }

  function list(runs) {
    byId("runs").replaceChildren(...runs.map((run) => {
      const ratios = run.result
        ? run.result.steps.map((step) => `${step.name} ${step.comparison ? show(step.comparison.ratio) : "–"} ×`).join(", ")
        : inWords(run.error);
      const links = element("td", "");
      const link = element("a", page.dataset.download);
      link.href = `${page.dataset.base}/results/${run.id}?download=true`;
      links.append(link);
      const name = element("td", "");
      if (run.result) {
        const open = element("button", run.name, "link");
        open.addEventListener("click", () => result(run.id).catch(tell));
        name.append(open);
      } else {
        name.textContent = run.name;
      }
      return row([name, element("td", words[run.state], run.state), text(clock.format(new Date(run.created_at))), text(ratios), links]);
    }));
    const finished = runs.filter((run) => run.result);
    for (const select of document.querySelectorAll("#compare select")) {
      const chosen = select.value;
      select.replaceChildren(...finished.map((run) => element("option", run.name)));
      select.value = chosen || finished.at(select.name === "current" ? 0 : 1)?.name || finished.at(0)?.name;
    }
    trends(finished);
    return finished;
  }

  function tell(error) {
    byId("state").textContent = error.message;
  }

  function watch(run) {
    const active = run && (run.state === "queued" || run.state === "running");
    byId("progress").hidden = byId("cancel").hidden = !active;
    if (active) {
      watched = run.id;
      byId("progress").value = run.progress;
      byId("state").textContent = [`${run.name}: ${words[run.state]}`, inWords(run.phase)].filter(Boolean).join(" · ");
    } else {
      if (watched) byId("state").textContent = "";
      watched = null;
    }
    return active;
  }

  async function refresh() {
    try {
      const { results } = await call("/results?limit=50");
      const before = watched;
      const active = results.find((run) => run.state === "queued" || run.state === "running");
      watch(active);
      if (!active || active.id !== before) {
        const finished = list(results);
        const newest = finished.at(0);
        if (newest && (shown === null || (before && newest.id === before))) await result(newest.id);
        const ended = before && results.find((run) => run.id === before);
        if (ended && ended.error) byId("state").textContent = inWords(ended.error);
      }
    } catch (error) {
      byId("state").textContent = page.dataset.lost;
    }
    setTimeout(refresh, watched ? 1000 : 5000);
  }

  byId("start")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const run = await post(`/run?${new URLSearchParams([...new FormData(event.target)].filter(([name]) => name !== "csrfmiddlewaretoken"))}`);
      watch(run);
    } catch (error) {
      tell(error);
    }
  });
  byId("cancel").addEventListener("click", () => post(`/results/${watched}/cancel`).catch(tell));
  byId("compare").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const told = await call(`/compare?${new URLSearchParams(new FormData(event.target))}`);
      byId("compared").replaceChildren(...told.steps.map((step) => row([
        text(step.name), text(step.version), number(step.ratio),
        element("td", `${show(step.low)} – ${show(step.high)}`, "number"), number(step.p),
        element("td", words[step.verdict], step.verdict),
      ])));
      byId("differs").textContent = told.environment_differs.length
        ? `${page.dataset.differs}: ` + told.environment_differs.map((d) => `${d.name} (${d.baseline} → ${d.current})`).join(", ")
        : "";
    } catch (error) {
      byId("differs").textContent = error.message;
    }
  });
  refresh();
})();
