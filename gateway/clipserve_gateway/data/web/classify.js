// @ts-check
/** The view that classifies pictures. */

import { all, base64, batches, call, limitsOf, refusal } from "./api.js";
import { announce, byId, cosine, counted, fill, h, percent, size } from "./dom.js";
import { explain, showError, web } from "./feedback.js";
import { Pictures, preview } from "./pictures.js";

/** @typedef {import("./types").ClassifyRequest} Request */
/** @typedef {import("./types").ClassifyResponse} Response */

const MODES = /** @type {Record<string, string>} */ ({
  SCORE_MODE_SOFTMAX:
    "The model chooses between your labels: the percentages of all of them add up to 100\u00a0% for each picture, even if none fits.",
  SCORE_MODE_INDEPENDENT:
    "The model judges each label alone (by sigmoid): several can fit a picture, or none, and the percentages do not add up to 100 %.",
});

const COSINE = "The cosine, from −1 to 1, says how well a label fits a picture by itself.";

/** @type {Pictures} */
let pictures;
/** @type {import("./types").GetServerInfoResponse} */
let info;
let running = new AbortController();

/** Connects the view. */
export function start() {
  pictures = new Pictures("classify", { onchange: drawButton });
  byId("labels").addEventListener("input", drawCount);
  byId("clear-labels").addEventListener("click", () => {
    byId("labels").value = "";
    byId("labels").focus();
    drawCount();
  });
  byId("label-set").addEventListener("change", () => {
    const stored = byId("label-set").value !== "";
    byId("own-labels").hidden = byId("template-field").hidden = stored;
  });
  byId("classify-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    run();
  });
  for (const button of byId("examples").querySelectorAll("button"))
    button.addEventListener("click", () => tryExample(button.dataset.example));
  drawCount();
  return { add: (/** @type {File[]} */ files) => pictures.add(files), shown };
}

/** Fills in what the server has. @param {import("./types").GetServerInfoResponse} server */
export async function shown(server) {
  info = server;
  const names = (server.models ?? []).map((model) => model.ref?.name ?? "");
  byId("model-field").hidden = names.length < 2;
  fill(byId("model"), [["", `${server.defaultModel || "the server’s"} (default)`], ...names.map(pair)]);
  try {
    const sets = await all("LabelSetService/ListLabelSets", "labelSets");
    byId("set-field").hidden = !sets.length;
    fill(byId("label-set"), [["", "the list below"],
      ...sets.map((set) => /** @type {[string, string]} */ ([set.ref.name, `${set.ref.name} (${counted(set.labelCount ?? 0, "label")})`]))]);
  } catch {
    byId("set-field").hidden = true; // labels of one's own do not need them
  }
}

/** @param {string} name @returns {[string, string]} */
const pair = (name) => [name, name];

/** The labels in the text: one a line; a single line is split at its commas. */
export function labels() {
  const lines = byId("labels").value.split("\n").map((/** @type {string} */ line) => line.trim()).filter(Boolean);
  if (lines.length !== 1) return lines;
  return lines[0].split(",").map((/** @type {string} */ part) => part.trim()).filter(Boolean);
}

function drawCount() {
  byId("label-count").textContent = counted(labels().length, "label") + ".";
}

function drawButton() {
  const count = pictures.items.length;
  byId("classify-go").textContent = count > 1 ? `Classify ${count} pictures` : "Classify";
}

/** Classifies a picture that comes with the page. @param {string} [name] */
async function tryExample(name = "") {
  const blob = await (await fetch(`${web}/examples/${name}.webp`)).blob();
  pictures.add([new File([blob], `${name}.webp`, { type: blob.type })]);
  await run();
}

/** The request without its pictures. @returns {Request} */
function request() {
  const stored = byId("label-set").value;
  const templates = byId("templates").value.split("\n").map((/** @type {string} */ line) => line.trim()).filter(Boolean);
  const none = byId("none").checked;
  return {
    ...(byId("model").value && { model: byId("model").value }),
    ...(stored
      ? { labelSet: { name: stored } }
      : { labels: { names: labels(), ...(templates.length && { templates }), ...(none && { noneOfTheAbove: {} }) } }),
    topK: Number(byId("top-k").value),
    ...(byId("mode").value && { scoreMode: byId("mode").value }),
  };
}

async function run() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const results = byId("classify-results");
  if (!pictures.items.length) return ask(results, "Choose a picture first.", "classify-files");
  if (!byId("label-set").value && !labels().length) return ask(results, "Type a label first.", "labels");
  const base = request();
  const limits = limitsOf(info ?? {});
  const cards = h("ol", { class: "cards" });
  const about = h("p", { class: "about" });
  results.replaceChildren(h("h2", {}, "Results"), about, cards);
  results.setAttribute("aria-busy", "true");
  const items = [...pictures.items];
  const sendable = items.filter((item) => !(item.why = info ? refusal(item.file, limits, size) : ""));
  /** @type {Map<any, HTMLElement>} */
  const places = new Map(items.map((item) => [item, card(item)]));
  cards.append(...places.values());
  for (const item of items) if (item.why) problem(places.get(item), item.why);
  let last = null;
  let failed = items.length - sendable.length;
  try {
    for (const batch of batches(sendable, limits)) {
      const images = await Promise.all(batch.map(async ({ file }) => ({ content: await base64(file) })));
      last = await call("ClipService/Classify", { ...base, images }, { signal, tries: 2 });
      const { message } = last;
      for (const [i, item] of batch.entries()) {
        const result = message.results?.[i] ?? {};
        const place = places.get(item);
        if (result.status?.code) failed++, problem(place, result.status.message ?? "It failed.");
        else place?.append(table(result.scores ?? []));
      }
      about.textContent = [MODES[message.scoreMode ?? ""], COSINE].filter(Boolean).join(" ");
      for (const warning of message.warnings ?? [])
        about.append(h("span", { class: "warning" }, warning.message));
      if (message.truncatedPrompts)
        about.append(h("span", { class: "warning" }, `${counted(message.truncatedPrompts, "prompt")} did not fit into the model’s context and was cut.`));
    }
  } catch (error) {
    if (signal.aborted) return;
    results.setAttribute("aria-busy", "false");
    if (!last) results.replaceChildren();
    return showError(results, error, LABELS);
  }
  results.setAttribute("aria-busy", "false");
  announce(`${counted(items.length - failed, "picture")} classified${failed ? `, ${failed} failed` : ""}.`);
  results.querySelector("h2")?.scrollIntoView({ block: "nearest" });
  const files = sendable.map((item) => item.file.name);
  if (last) results.append(await explain({ ...last, kind: "classify", request: base, files }));
}

/** Fields of the request, as this page calls them. */
const LABELS = { labels: "labels", templates: "templates", images: "classify-files", top_k: "top-k", score_mode: "mode" };

/** Asks for what is missing. @param {HTMLElement} results @param {string} words @param {string} id */
function ask(results, words, id) {
  results.replaceChildren(h("p", { class: "error", role: "alert" }, words));
  byId(id).focus();
}

/** @param {import("./pictures.js").Picture} item */
function card(item) {
  const own = { ...item, url: URL.createObjectURL(item.file) };
  const image = preview(own, "");
  for (const event of ["load", "error"]) image.addEventListener(event, () => URL.revokeObjectURL(own.url));
  return h("li", { class: "card result" }, h("figure", {}, image, h("figcaption", {}, item.file.name)));
}

/** @param {HTMLElement | undefined} place @param {string} words */
function problem(place, words) {
  place?.append(h("p", { class: "error" }, words));
}

/** One picture's labels. @param {import("./types").LabelScore[]} scores */
function table(scores) {
  const chances = scores.some((score) => score.probability !== undefined);
  const rows = scores.map((score, rank) => {
    const share = score.probability ?? Math.max(0, score.cosine ?? 0);
    const bar = h("span", { class: "bar" });
    bar.style.setProperty("--share", String(share));
    const above = score.aboveThreshold;
    return h("tr", { class: rank ? "" : "best" },
      h("th", { scope: "row" }, h("span", { class: "label" }, score.label),
        above !== undefined && h("span", { class: "hint" }, above ? " above its threshold" : " below its threshold"), bar),
      chances && h("td", {}, score.probability === undefined ? "–" : percent(score.probability)),
      h("td", { class: "cosine" }, cosine(score.cosine)));
  });
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Label"),
      chances && h("th", { scope: "col" }, "Probability"), h("th", { scope: "col" }, "Cosine"))),
    h("tbody", {}, ...rows));
}
