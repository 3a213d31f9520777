// @ts-check
/** The view that lists collections and makes them of files. */

import { ApiError, all, call } from "./api.js";
import { announce, byId, counted, fill, h, size } from "./dom.js";
import { explain, showError } from "./feedback.js";
import { pathOf } from "./pictures.js";
import { choose } from "./search.js";
import { SCHEMA, upload } from "./upload.js";

/** @typedef {import("./upload.js").Item} Item */
/** @typedef {import("./types").Collection} Collection */

const PICTURE = /\.(jpe?g|jpe|jfif|png|webp|gif|bmp|dib|tiff?|p[pgbn]m|heic|heif|avif|jxl|jp2)$/i;
const SHOWN = 200;
const FIELDS = { name: "name", model: "make-model", keep_sources: "keep" };

/** @type {Collection[]} */
let collections = [];
/** @type {import("./types").GetServerInfoResponse} */
let info;
const chosen = /** @type {Map<string, Item>} */ (new Map());
const leftOut = /** @type {Set<string>} */ (new Set());
/** Whether people want the pictures stored, where they can choose. */
let keep = true;
/** @type {AbortController | null} */
let running = null;

/** Connects the view. */
export function start() {
  for (const id of ["make-folder", "make-files"])
    byId(id).addEventListener("change", () => {
      add([...byId(id).files]);
      byId(id).value = "";
    });
  byId("make-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    run();
  });
  byId("make-stop").addEventListener("click", () => running?.abort());
  byId("name").addEventListener("input", drawKeep);
  byId("keep").addEventListener("change", () => (keep = byId("keep").checked));
  addEventListener("beforeunload", (event) => {
    if (running) event.preventDefault();
  });
  return { add, shown };
}

/** Lists the collections. @param {import("./types").GetServerInfoResponse} server */
export async function shown(server) {
  info = server;
  const models = (server.models ?? []).map((model) => model.ref?.name ?? "");
  byId("make-model-field").hidden = models.length < 2;
  fill(byId("make-model"), models.map((name) => [name, name]));
  if (server.defaultModel && !byId("make-model").value) byId("make-model").value = server.defaultModel;
  const list = byId("collection-list");
  try {
    collections = await all("CollectionService/ListCollections", "collections");
  } catch (error) {
    return showError(list, error);
  }
  list.replaceChildren(collections.length ? table() : h("p", { class: "about" }, "There is no collection yet. Make the first one here, or the ",
    h("a", { href: "#search" }, "example collection"), "."));
  drawKeep();
}

function table() {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Collections" }, h("table", {},
    h("thead", {}, h("tr", {}, ...["Name", "Pictures", "Model", "Stores pictures", ""].map((title) =>
      title ? h("th", { scope: "col" }, title) : h("td", {})))),
    h("tbody", {}, ...collections.map(({ name = "", count, model, keepSources }) => h("tr", {},
      h("th", { scope: "row" }, name),
      h("td", {}, Number(count ?? 0).toLocaleString("en")),
      h("td", {}, model?.name),
      h("td", {}, keepSources ? "yes" : "no"),
      h("td", {}, h("a", { href: "#search", "aria-label": `Search ${name}`, onclick: () => choose(name) }, "Search")))))));
}

const existing = () => collections.find(({ name, aliases = [] }) => name === byId("name").value || aliases.includes(byId("name").value));

/** An existing collection has its own model, and stores pictures or not. */
function drawKeep() {
  const old = existing();
  byId("keep").disabled = !info?.keepsSources || old !== undefined;
  byId("make-model").disabled = old !== undefined;
  byId("keep").checked = old ? old.keepSources ?? false : keep && (info?.keepsSources ?? false);
  byId("name-hint").textContent = old
    ? "This collection exists: pictures are added, and those with the same path are replaced."
    : "3 to 64 letters, digits, _ and -; the first is a letter or _.";
  if (info && !info.keepsSources) byId("keep-hint").textContent = "This server’s store cannot keep pictures.";
}

/** Adds files; those that are no pictures by their names are listed, not sent. @param {File[]} files */
function add(files) {
  for (const file of files) {
    const path = pathOf(file);
    if (!PICTURE.test(path) && !file.type.startsWith("image/")) leftOut.add(path);
    // Paths begin below the chosen folder, as those of `clipserve index`.
    else chosen.set(path.replace(/^[^/]*\//, ""), { path: path.replace(/^[^/]*\//, ""), file });
  }
  const folder = files[0] && pathOf(files[0]).includes("/") ? pathOf(files[0]).split("/")[0] : "";
  if (folder && !byId("name").value) byId("name").value = suggested(folder);
  drawChosen();
  drawKeep();
}

/** A name for a collection. @param {string} folder */
function suggested(folder) {
  const name = folder.replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^[^A-Za-z_]+/, "").slice(0, 64);
  return name.length < 3 ? "" : name;
}

function drawChosen() {
  const total = [...chosen.values()].reduce((sum, { file }) => sum + file.size, 0);
  byId("make-chosen").textContent = chosen.size ? `${counted(chosen.size, "picture")}, ${size(total)}.` : "Nothing is chosen yet.";
  const details = byId("left-out");
  details.hidden = !leftOut.size;
  details.querySelector("summary").textContent = `${counted(leftOut.size, "other file")} left out, since their names are not those of pictures`;
  details.querySelector("ul").replaceChildren(...some([...leftOut]).map((path) => h("li", {}, path)));
}

/** The first of many lines, and how many more there are. @param {string[]} lines */
const some = (lines) => (lines.length <= SHOWN ? lines : [...lines.slice(0, SHOWN), `… and ${lines.length - SHOWN} more`]);

async function run() {
  const results = byId("make-results");
  if (!chosen.size) {
    results.replaceChildren(h("p", { class: "error", role: "alert" }, "Choose a folder or pictures first."));
    byId("make-folder").focus();
    return;
  }
  if (running) return;
  running = new AbortController();
  const name = byId("name").value;
  const items = [...chosen.values()];
  const errors = /** @type {string[]} */ ([]);
  /** @type {import("./how.js").Done | null} */
  let last = null;
  results.replaceChildren();
  byId("make-progress").hidden = byId("make-stop").hidden = false;
  byId("make-bar").max = items.length;
  const begin = performance.now();
  /** @param {number} done */
  const progress = (done) => {
    byId("make-bar").value = done;
    const left = ((performance.now() - begin) / 1000 / Math.max(done, 1)) * (items.length - done);
    byId("make-status").textContent = `${done.toLocaleString("en")} of ${counted(items.length, "picture")}` +
      (errors.length ? `, ${counted(errors.length, "error")}` : "") + (done && left > 5 ? `, about ${duration(left)} left` : "") + ".";
  };
  progress(0);
  let failure = null;
  try {
    let schema = existing()?.schema;
    if (!existing()) {
      const { message } = await call("CollectionService/CreateCollection", {
        name, schema: SCHEMA, keepSources: byId("keep").checked,
        ...(!byId("make-model-field").hidden && { model: byId("make-model").value }),
      }, { signal: running.signal });
      schema = message.collection?.schema;
    }
    await upload(name, schema ?? [], items, info, {
      failed: (item, words) => errors.push(`${item.path}: ${words}`),
      progress,
      answered: (done) => (last = done),
    }, running.signal);
    chosen.clear();
    leftOut.clear();
    drawChosen();
  } catch (error) {
    failure = running.signal.aborted ? new ApiError("canceled", "Pictures that were written before stay in the collection. Add the pictures again to go on.") : error;
  }
  running = null;
  byId("make-stop").hidden = true;
  const words = failure ? "Not all pictures were written." : `${counted(items.length - errors.length, "picture")} written to ${name}.`;
  results.replaceChildren(h("h3", {}, words));
  if (failure) showError(results, failure, FIELDS);
  else results.append(h("p", {}, h("a", { class: "button primary", href: "#search", onclick: () => choose(name) }, `Search ${name}`)));
  if (errors.length)
    results.append(h("details", { open: errors.length < 20 }, h("summary", {}, `${counted(errors.length, "file")} not written`),
      h("ul", { class: "errors" }, ...some(errors).map((line) => h("li", {}, line)))));
  if (last) results.append(await explain(last));
  announce(words);
  await shown(info);
}

/** @param {number} seconds */
const duration = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : counted(Math.round(seconds / 60), "minute"));
