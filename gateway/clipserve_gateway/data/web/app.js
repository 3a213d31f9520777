// @ts-check
/** The page: views, the server's state, the token, and pictures that are dropped or pasted anywhere. */

import { ApiError, call, hasToken, useToken, whenTokenNeeded } from "./api.js";
import { announce, byId } from "./dom.js";
import { showError } from "./feedback.js";
import { droppedFiles } from "./pictures.js";

/** @typedef {{ add: (files: File[]) => void, shown: (info: any) => unknown }} View */

const LOAD = /** @type {Record<string, () => Promise<{ start: () => View }>>} */ ({
  classify: () => import("./classify.js"),
  search: () => import("./search.js"),
  collections: () => import("./collections.js"),
});
const views = /** @type {Record<string, Promise<View>>} */ ({});
let current = "classify";
let timer = 0;
/** @type {import("./types").GetServerInfoResponse | null} */
let info = null;

/** @param {boolean} focus */
async function show(focus) {
  const wanted = location.hash.slice(1);
  if (wanted in LOAD) current = wanted;
  for (const name of Object.keys(LOAD)) byId(name).hidden = name !== current;
  for (const link of document.querySelectorAll("nav a"))
    if (link.getAttribute("href") === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  const heading = byId(current).querySelector("h1");
  document.title = `${heading.textContent} – clipserve`;
  if (focus) {
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  const name = current;
  views[name] ??= LOAD[name]().then((module) => module.start());
  try {
    const view = await views[name];
    if (info) await view.shown(info);
  } catch {
    delete views[name];
    showError(byId("notice"), new ApiError("unreachable", "A part of this page could not be loaded."));
  }
}

/** Asks the server what it has, until a model is ready. */
async function connect() {
  clearTimeout(timer);
  const server = byId("server");
  try {
    const { message } = await call("ClipService/GetServerInfo", {}, { seconds: 20, tries: 3 });
    info = message;
    // Until the view is loaded, its buttons do nothing.
    const view = await views[current];
    const models = message.models ?? [];
    const ready = models.filter((model) => model.ready);
    const name = message.defaultModel || ready[0]?.ref?.name || "";
    server.textContent = ready.length ? `${name} is ready` : "No model is ready";
    server.className = ready.length ? "ready" : "waiting";
    byId("version").textContent = `clipserve ${message.version ?? ""}`;
    byId("notice").replaceChildren();
    if (!ready.length) timer = setTimeout(connect, 3000);
    await view.shown(message);
  } catch (error) {
    server.textContent = error instanceof ApiError && error.code === "unauthenticated" ? "A token is needed" : "Not connected";
    server.className = "waiting";
    if (server.textContent === "Not connected") {
      showError(byId("notice"), error);
      timer = setTimeout(connect, 5000);
    }
  }
}

/** @param {boolean} open */
function openToken(open) {
  byId("token-form").hidden = !open;
  byId("token-button").setAttribute("aria-expanded", String(open));
  if (open) byId("token").focus();
}

byId("token-button").addEventListener("click", () => openToken(byId("token-form").hidden));
byId("token-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  byId("token").value = "";
  byId("token-button").textContent = hasToken() ? "Token ✓" : "Token";
  openToken(false);
  byId("token-button").focus();
  announce(hasToken() ? "The token is used from now on." : "No token is used from now on.");
  connect();
});
whenTokenNeeded(() => {
  byId("token-button").hidden = false;
  openToken(true);
});

document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});

// A closed part of a form would hide what the browser wants to show.
addEventListener("invalid", (event) => {
  const details = event.target instanceof Element && event.target.closest("details");
  if (details) details.open = true;
}, true);

/** @param {DragEvent} event */
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", async (event) => {
  if (!hasFiles(event) || !event.dataTransfer) return;
  event.preventDefault();
  document.body.classList.remove("dragging");
  const files = droppedFiles(event.dataTransfer);
  (await views[current]).add(await files);
});
addEventListener("paste", async (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  (await views[current]).add(files);
});

addEventListener("hashchange", () => show(true));
show(false);
connect();
