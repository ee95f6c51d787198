// The page: sign in, upload, segment, look. It holds nothing that the server does not know.

import { call, newKey, sendFile } from "/client.js";
import { measurementsTable } from "/measurements.js";

const JOB_PAGES = 10; // pages of 200 jobs that are read when a project is opened
const JOBS_ASKED = 20; // open jobs that are asked for at each tick, the oldest first
const JOBS_PER_REQUEST = 100;
const UPLOADS_AT_ONCE = 2;
const TICK_MS = 1_000;
const TICK_SLOW_MS = 10_000;
const TICKS_UNTIL_SLOW = 600; // without any change

const $ = (id) => document.getElementById(id);
const state = { project: null, images: [], nextCursor: null, jobs: new Map(), rows: new Map(), shown: null };
const polling = { timer: null, quietTicks: 0 };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function say(text, kind = "") {
  $("message").textContent = text;
  $("message").className = kind;
}

// A failure is shown where everything is told; one that means "signed out" leads to the sign-in form.
function guarded(work) {
  return async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      if (error.status === 401 && $("sign-in").hidden) showSignIn();
      say(error.message, "bad");
    }
  };
}

const inAddress = (name) => new URLSearchParams(location.hash.slice(1)).get(name);

// Signing in

async function start() {
  const code = inAddress("sign-in");
  if (code) {
    // Out of the address bar and the history, before anything else happens with it.
    history.replaceState(null, "", location.pathname);
    try {
      return await enter(await call("POST", "/api/v1/sessions/link", { code }));
    } catch (error) {
      say(error.message, "bad");
    }
  }
  try {
    await enter(await call("GET", "/api/v1/session"));
  } catch (error) {
    if (error.status !== 401) say(error.message, "bad");
    showSignIn();
  }
}

function showSignIn() {
  stopPolling();
  $("sign-in").hidden = false;
  $("work").hidden = $("account").hidden = true;
  $("email").focus();
}

async function enter(user) {
  say("");
  $("sign-in").hidden = true;
  $("work").hidden = $("account").hidden = false;
  $("who").textContent = user.name;
  await guarded(loadProjects)(inAddress("project"));
}

async function signIn(event) {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData($("sign-in-form")));
  const user = await call("POST", "/api/v1/sessions", { email, password });
  $("sign-in-form").reset();
  await enter(user);
}

async function signOut() {
  await call("DELETE", "/api/v1/session");
  location.reload();
}

// Projects and their images

async function loadProjects(selected) {
  const { items } = await call("GET", "/api/v1/projects?limit=200");
  $("project").replaceChildren(...items.map(({ id, name }) => element("option", { value: id, textContent: name })));
  const opened = items.find((project) => project.id === selected) ?? items[0];
  $("columns").hidden = $("project").hidden = !opened;
  if (!opened) {
    say("Create a project to begin.");
    return $("project-name").focus();
  }
  $("project").value = opened.id;
  await openProject(opened.id);
}

async function createProject(event) {
  event.preventDefault();
  const project = await call("POST", "/api/v1/projects", { name: $("project-name").value });
  $("new-project").reset();
  await loadProjects(project.id);
  say(`Project ${project.name} is ready.`, "good");
}

async function openProject(id) {
  stopPolling();
  Object.assign(state, { project: id, images: [], nextCursor: null, jobs: new Map(), rows: new Map(), shown: null });
  history.replaceState(null, "", `#project=${id}`);
  $("result").hidden = true;
  await Promise.all([loadImages(), loadJobs()]);
  draw();
  startPolling();
}

async function loadImages() {
  const cursor = state.nextCursor ? `&cursor=${state.nextCursor}` : "";
  const page = await call("GET", `/api/v1/projects/${state.project}/images?limit=100${cursor}`);
  state.images.push(...page.items);
  state.nextCursor = page.next_cursor;
}

// Jobs: the newest of each image counts

const isOpen = (job) => job.status === "queued" || job.status === "running";
const openJobs = () => [...state.jobs.values()].filter(isOpen);

// True when it was news.
function remember(job) {
  const known = state.jobs.get(job.image);
  if (known && known.id > job.id) return false;
  state.jobs.set(job.image, job);
  return known?.id !== job.id || known.status !== job.status || known.progress !== job.progress;
}

async function loadJobs() {
  let cursor = "";
  for (let page = 0; page < JOB_PAGES && cursor !== null; page += 1) {
    const jobs = await call("GET", `/api/v1/projects/${state.project}/jobs?limit=200${cursor}`);
    jobs.items.forEach(remember);
    cursor = jobs.next_cursor && `&cursor=${jobs.next_cursor}`;
  }
}

async function submit(images) {
  for (let from = 0; from < images.length; from += JOBS_PER_REQUEST) {
    const jobs = images.slice(from, from + JOBS_PER_REQUEST).map((image) => ({ image_id: image.id }));
    const { items } = await call("POST", "/api/v1/jobs/batch", { jobs }, { "Idempotency-Key": newKey() });
    items.forEach(remember);
  }
  draw();
  startPolling();
}

async function stop(job) {
  remember(await call("POST", `/api/v1/jobs/${job.id}/cancel`));
  draw();
}

async function look() {
  const project = state.project;
  const asked = openJobs().sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, JOBS_ASKED);
  const jobs = await Promise.all(asked.map((job) => call("GET", `/api/v1/jobs/${job.id}`)));
  if (project !== state.project) return;
  const changed = jobs.filter(remember).length > 0;
  polling.quietTicks = changed ? 0 : polling.quietTicks + 1;
  if (changed) draw();
}

function startPolling() {
  if (polling.timer || openJobs().length === 0) return;
  const wait = polling.quietTicks > TICKS_UNTIL_SLOW ? TICK_SLOW_MS : TICK_MS;
  const timer = setTimeout(async () => {
    if (!document.hidden) await guarded(look)();
    if (polling.timer !== timer) return; // stopped meanwhile
    polling.timer = null;
    startPolling();
  }, wait);
  polling.timer = timer;
}

function stopPolling() {
  clearTimeout(polling.timer);
  Object.assign(polling, { timer: null, quietTicks: 0 });
}

// Uploads

async function uploadAll(files) {
  const project = state.project;
  document.querySelectorAll("#uploads .failed").forEach((line) => line.remove());
  const waiting = [...files].map((file) => [file, uploadLine(file)]);
  const stored = [];
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const image = await upload(project, ...next);
      if (image) stored.push(image);
    }
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, lane));
  if (project !== state.project) return;
  state.images.unshift(...stored.reverse());
  draw();
  if ($("segment-at-once").checked && stored.length > 0) await submit(stored);
}

function uploadLine(file) {
  const bar = element("progress", { max: 1, value: 0, ariaLabel: `Upload of ${file.name}` });
  const status = element("small", { textContent: "waiting" });
  const line = element("li", {}, element("span", { textContent: file.name }), bar, status);
  $("uploads").append(line);
  return { line, bar, status };
}

// The stored image, or null; the line then says why.
async function upload(project, file, { line, bar, status }) {
  const onProgress = (share) => {
    bar.value = share;
    status.textContent = share < 1 ? `${Math.floor(100 * share)} %` : "being checked";
  };
  try {
    const image = await sendFile(`/api/v1/projects/${project}/images`, file, onProgress);
    line.remove();
    return image;
  } catch (error) {
    bar.remove();
    status.textContent = error.message;
    line.className = "failed";
    return null;
  }
}

// Drawing

function draw() {
  const open = openJobs().length;
  state.images.forEach((image, place) => placeRow(drawnRow(image), place));
  [...$("images").tBodies[0].rows].slice(state.images.length).forEach((row) => row.remove());
  $("no-images").hidden = state.images.length > 0;
  $("more").hidden = !state.nextCursor;
  $("segment-new").disabled = withoutResult().length === 0;
  $("open-jobs").textContent = open > 0 ? `${open} job${open === 1 ? "" : "s"} open` : "";
  keepShown();
}

// The first result is shown by itself, and what is shown is shown anew when its job has moved.
function keepShown() {
  const { image, job } = state.shown ?? {};
  if (!image) {
    const first = state.images.find((candidate) => state.jobs.get(candidate.id)?.status === "completed");
    if (first) guarded(show)(first, false);
    return;
  }
  const now = state.jobs.get(image.id);
  if (now?.id !== job?.id || now?.status !== job?.status) guarded(show)(image, false);
}

function withoutResult() {
  const bare = (job) => !job || job.status === "dead" || job.status === "cancelled";
  return state.images.filter((image) => bare(state.jobs.get(image.id)));
}

// Rows stay, and only the cells that changed are drawn again, so that the keyboard keeps its place.
function drawnRow(image) {
  const job = state.jobs.get(image.id);
  const known = state.rows.get(image.id) ?? newRow(image);
  state.rows.set(image.id, known);
  known.row.ariaSelected = String(state.shown?.image.id === image.id);
  const status = `${job?.status} ${job?.failures}`;
  if (known.status !== status) {
    known.status = status;
    known.statusCell.replaceChildren(jobStatus(job));
    known.action.replaceChildren(action(image, job), " ");
  }
  const bar = known.statusCell.querySelector("progress");
  if (bar) bar.value = job.progress;
  return known.row;
}

function newRow(image) {
  const thumbnail = element("img", { alt: "", loading: "lazy", src: `/api/v1/images/${image.id}/preview.png?size=96` });
  const pages = image.pages > 1 ? `, ${image.pages} pages` : "";
  const statusCell = element("td");
  const action = element("span");
  const row = element("tr", {},
    element("td", {}, element("div", {}, thumbnail, image.name)),
    element("td", { className: "size", textContent: `${image.width} × ${image.height}${pages}` }),
    statusCell,
    element("td", {}, action, button("View", () => show(image), image)));
  return { row, statusCell, action, status: null };
}

function placeRow(row, place) {
  const body = $("images").tBodies[0];
  if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
}

function jobStatus(job) {
  if (!job) return "not segmented";
  if (job.status === "running") return element("progress", { max: 100, value: job.progress, ariaLabel: "Progress" });
  const waits = job.failures > 0 ? "waits for another try" : "waits";
  const words = { queued: waits, completed: "done", dead: "failed", cancelled: "stopped" };
  const className = { completed: "good", dead: "bad" }[job.status] ?? "";
  return element("span", { textContent: words[job.status], className, title: job.error?.text ?? "" });
}

function action(image, job) {
  if (job && isOpen(job)) return button("Stop", () => stop(job), image);
  return button(job?.status === "completed" ? "Again" : "Segment", () => submit([image]), image);
}

function button(text, work, image) {
  const ariaLabel = `${text}: ${image.name}`;
  return element("button", { type: "button", className: "quiet", textContent: text, ariaLabel, onclick: guarded(work) });
}

async function show(image, asked = true) {
  const job = state.jobs.get(image.id);
  const done = job?.status === "completed";
  state.shown = { image, job };
  $("result").hidden = false;
  $("result-title").textContent = image.name;
  $("result-note").textContent = job?.error?.text ?? "";
  const source = done ? `/api/v1/jobs/${job.id}/overlay.png` : `/api/v1/images/${image.id}/preview.png`;
  Object.assign($("picture"), { src: source, alt: done ? `${image.name} with numbered outlines` : image.name });
  $("picture-link").href = source;
  $("downloads").replaceChildren(...downloads(image, done ? job : null));
  drawMeasurements([]);
  draw();
  if (asked) $("result-title").focus();
  if (done) await showResult(image, job);
}

async function showResult(image, job) {
  const { objects, note } = await call("GET", `/api/v1/jobs/${job.id}/result`);
  if (state.shown.image.id !== image.id) return;
  $("result-note").textContent = note ?? `${objects.length} object${objects.length === 1 ? "" : "s"}`;
  drawMeasurements(objects);
}

function downloads(image, job) {
  const stem = image.name.replace(/\.[^.]*$/, "");
  const of = (name, href, download = "") => element("a", { href, download, textContent: name });
  const original = of("Original", `/api/v1/images/${image.id}/file`);
  if (!job) return [original];
  const path = `/api/v1/jobs/${job.id}`;
  return [of("Measurements (CSV)", `${path}/result.csv`), of("Outlines (GeoJSON)", `${path}/result.geojson`),
    of("Labels (TIFF)", `${path}/labels.tif`), of("Overlay (PNG)", `${path}/overlay.png`, `${stem}.overlay.png`), original];
}

function drawMeasurements(objects) {
  const { heads, rows } = measurementsTable(objects);
  const line = (tag, texts, properties) =>
    element("tr", {}, ...texts.map((textContent) => element(tag, { textContent, ...properties })));
  $("measurements").tHead.replaceChildren(...(objects.length > 0 ? [line("th", heads, { scope: "col" })] : []));
  $("measurements").tBodies[0].replaceChildren(...rows.map((texts) => line("td", texts)));
}

function listen() {
  const on = (id, event, work) => $(id).addEventListener(event, guarded(work));
  on("sign-in-form", "submit", signIn);
  on("sign-out", "click", signOut);
  on("new-project", "submit", createProject);
  on("project", "change", () => openProject($("project").value));
  on("segment-new", "click", () => submit(withoutResult()));
  on("more", "click", () => loadImages().then(draw));
  on("files", "change", async () => {
    const files = [...$("files").files];
    $("files").value = "";
    await uploadAll(files);
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    $("drop").addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
    });
  }
  on("drop", "drop", (event) => uploadAll(event.dataTransfer.files));
}

listen();
start();
