// Keeps the sections of the page as they are in the node, and does what its forms ask for.
const live = document.getElementById("live");
const said = document.getElementById("said");
const EVENTS = ["operation", "peer", "share", "follow", "lost"];
const SAMPLES = 120;
const rates = { upload: [], download: [] };

function say(text) { said.textContent = text; }

async function problem(response) {
  const told = await response.json().catch(() => ({}));
  return told.detail ?? `the node answered ${response.status}`;
}

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  if (!response.ok) throw new Error(await problem(response));
  return response.status === 204 ? null : response.json();
}

// Turns what is shown into what it is now, and touches nothing that stays: whoever has the focus somewhere keeps it.
function turn(old, next) {
  if (old.isEqualNode(next)) return;
  if (old.nodeName !== next.nodeName || old.id !== next.id) return old.replaceWith(next);
  if (old.nodeType === Node.TEXT_NODE) { old.data = next.data; return; }
  for (const { name } of [...old.attributes]) if (name !== "open" && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const coming = new Set([...next.children].map((child) => child.id).filter(Boolean));
  for (const child of [...old.children]) if (child.id && !coming.has(child.id)) child.remove();
  let at = old.firstChild;
  for (const child of [...next.childNodes]) {
    const same = child.id
      ? [...old.children].find((known) => known.id === child.id)
      : at && !at.id && at.nodeName === child.nodeName ? at : null;
    if (!same) { old.insertBefore(child, at); continue; }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    turn(same, child);
  }
  while (at) { const after = at.nextSibling; at.remove(); at = after; }
}

function show(text) {
  const next = new DOMParser().parseFromString(text, "text/html");
  for (const section of [...next.body.children]) {
    const old = document.getElementById(section.id);
    if (old) turn(old, document.adoptNode(section));
  }
  if (checking) looking();
}

function points(values, most) {
  const step = 600 / (SAMPLES - 1);
  const from = SAMPLES - values.length;
  return values.map((value, index) => `${(from + index) * step},${78 - (76 * value) / most}`).join(" ");
}

function plot() {
  for (const id of ["upload", "download"]) {
    rates[id].push(Number(document.getElementById(id).value));
    if (rates[id].length > SAMPLES) rates[id].shift();
  }
  const most = Math.max(1, ...rates.upload, ...rates.download);
  document.querySelector("#plot .sent").setAttribute("points", points(rates.upload, most));
  document.querySelector("#plot .received").setAttribute("points", points(rates.download, most));
  const size = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  document.getElementById("most").textContent = most > 1 ? `at most ${size.format(most)}B/s` : "nothing lately";
}

let asking = false;
let again = false;
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const response = await fetch("/page/live");
    if (response.status === 401) return location.reload();
    if (!response.ok) throw new Error(await problem(response));
    show(await response.text());
  } catch (error) {
    say(`The node does not answer: ${error.message}`);
  } finally {
    asking = false;
    if (again) { again = false; soon(); }
  }
}

let due;
function soon() { due ??= setTimeout(() => { due = undefined; refresh(); }, 300); }

function send(file, bar) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => { bar.max = event.total || 1; bar.value = event.loaded; };
    request.onload = () => request.status === 201
      ? resolve(JSON.parse(request.responseText))
      : reject(new Error(`the node answered ${request.status}`));
    request.onerror = () => reject(new Error("the connection was lost"));
    request.open("POST", "/v1/content");
    request.setRequestHeader("content-type", "application/octet-stream");
    request.send(file);
  });
}

async function share(files) {
  const bar = document.getElementById("sending");
  bar.hidden = false;
  try {
    for (const file of files) {
      say(`Sending ${file.name} to the node …`);
      const { cid } = await send(file, bar);
      const shared = await call("POST", "/v1/roots", { cid, name: file.name });
      say(`Shared: ${shared.link}`);
    }
  } catch (error) {
    say(`Not shared: ${error.message}`);
  } finally {
    bar.hidden = true;
    soon();
  }
}

function forms() {
  const get = document.getElementById("get");
  const form = document.getElementById("share");
  if (!get) return;
  get.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("POST", "/v1/fetches", { link: get.link.value.trim() });
      say("Asked for. It is below, as it comes.");
      get.reset();
    } catch (error) {
      say(`Not asked for: ${error.message}`);
    }
    soon();
  });
  form.file.addEventListener("change", async () => { await share([...form.file.files]); form.reset(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); form.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) form.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    share([...event.dataTransfer.files]);
  });
}

async function copy(button) {
  const link = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(link);
    say("The link is copied.");
  } catch {
    say(link);
  }
}

let checking = false;
function looking() { document.getElementById("checked").textContent = "Looking …"; }

async function check() {
  if (checking) return;
  checking = true;
  looking();
  try {
    await call("POST", "/v1/doctor");
  } catch (error) {
    say(`Not looked at: ${error.message}`);
  }
  checking = false;
  soon();
}

// The log is text that others may have chosen some of: it becomes text, and nothing else.
const MOST_LINES = 300;
function line(told) {
  const row = document.createElement("p");
  const part = (kind, text) => {
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = text;
    row.append(span, " ");
  };
  const at = new Date(told.at_ms);
  part("soft", at.toLocaleTimeString("en-GB"));
  row.firstChild.title = at.toISOString();
  part(`level ${told.level}`, told.level);
  part("soft", told.target);
  part("text", told.text);
  return row;
}

// Shown while somebody sees the page: a browser has six connections to a node, for all its windows.
function log() {
  const lines = document.getElementById("lines");
  if (!lines) return;
  let stream;
  const add = (row) => {
    const below = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 8;
    lines.append(row);
    while (lines.children.length > MOST_LINES) lines.firstChild.remove();
    if (below) lines.scrollTop = lines.scrollHeight;
  };
  const follow = () => {
    stream?.close();
    stream = undefined;
    if (document.hidden) return;
    lines.replaceChildren();
    stream = new EventSource(`/v1/log/stream?lines=${MOST_LINES}`);
    stream.addEventListener("line", (event) => add(line(JSON.parse(event.data))));
    stream.addEventListener("lost", () => {
      const row = document.createElement("p");
      row.textContent = "… some lines were lost …";
      add(row);
    });
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}

if (live) {
  forms();
  log();
  live.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.id === "check") check();
    if (button?.dataset.copy) copy(button);
    if (button?.dataset.cancel) {
      call("DELETE", `/v1/operations/${button.dataset.cancel}`).catch((error) => say(error.message)).finally(soon);
    }
  });
  const events = new EventSource("/v1/events");
  for (const name of EVENTS) events.addEventListener(name, soon);
  setInterval(() => { plot(); if (!document.hidden) refresh(); }, 2000);
  plot();
}
