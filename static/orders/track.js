// Keeps the page of an order up to date. What the server rendered stands until
// the first event comes; after a break it asks for what it has missed.
"use strict";

(() => {
  const page = document.getElementById("track");
  const words = JSON.parse(document.getElementById("words").textContent);
  const connection = document.getElementById("connection");
  const timeline = document.getElementById("events");
  let since = page.dataset.since;
  let pause = 500;

  const byId = (id) => document.getElementById(id);
  const say = (state) => {
    connection.className = state;
    connection.textContent = page.dataset[state];
  };
  const label = (status) => words[`order.${status}`] ?? status ?? "–";
  const formatted = new Intl.DateTimeFormat(page.dataset.language, {
    dateStyle: "medium", timeStyle: "medium", timeZone: page.dataset.zone,
  });
  for (const time of document.querySelectorAll("#events time")) {
    time.textContent = formatted.format(new Date(time.dateTime));
  }

  function moveTo(status, next) {
    byId("status").textContent = label(status);
    byId("next").textContent = next ? label(next) : "–";
    const steps = [...document.querySelectorAll(".steps li")];
    const reached = steps.findIndex((step) => step.dataset.status === status);
    document.querySelector(".steps").hidden = reached < 0;
    steps.forEach((step, index) => {
      step.className = index < reached ? "done" : index === reached ? "now" : "ahead";
      if (index === reached) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
  }

  function addEvent(event, isNew) {
    since = event.id;
    const item = document.createElement("li");
    item.dataset.id = event.id;
    if (isNew) item.className = "new";
    const time = document.createElement("time");
    time.dateTime = event.time;
    time.textContent = formatted.format(new Date(event.time));
    const name = document.createElement("strong");
    name.textContent = words[event.name] ?? event.name;
    const by = document.createElement("span");
    by.textContent = event.by ?? page.dataset.shop;
    item.append(time, " ", name, " ", by);
    timeline.append(item);
  }

  function details(data) {
    for (const name of ["carrier", "tracking_number"]) {
      if (data[name]) byId(name).textContent = data[name];
    }
  }

  function receive(message) {
    if (message.type === "event") {
      addEvent({ ...message, name: message.event }, true);
      if (message.status) moveTo(message.status, message.next);
      details(message.data);
    } else if (message.type === "snapshot") {
      timeline.replaceChildren();
      for (const event of message.tracking.events) addEvent({ ...event, name: event.type }, false);
      moveTo(message.tracking.status, message.tracking.next);
      details(message.tracking);
    }
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const path = `/api/v2/orders/${page.dataset.order}/updates?since=${since}`;
    const socket = new WebSocket(`${scheme}://${location.host}${path}`);
    // Whoever is silent for minutes is let go.
    const ping = setInterval(() => {
      if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
    }, 60000);
    socket.onopen = () => { pause = 500; say("live"); };
    socket.onmessage = (message) => receive(JSON.parse(message.data));
    socket.onclose = (closed) => {
      clearInterval(ping);
      if (closed.code === 4401) { say("ended"); return; }
      say("lost");
      // Not all at the same moment after a restart.
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, 15000);
    };
  }

  connect();
})();
