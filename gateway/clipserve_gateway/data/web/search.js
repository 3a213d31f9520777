// @ts-check
/** The view that searches a collection. */

import { all, base64, call, limitsOf, refusal } from "./api.js";
import { announce, byId, cosine, counted, fill, h, size } from "./dom.js";
import { NAME as EXAMPLE, makeExample } from "./example.js";
import { explain, showError } from "./feedback.js";
import { Conditions } from "./filters.js";
import { Pictures } from "./pictures.js";
import { Thumbnails } from "./thumbnails.js";

/** @typedef {import("./types").SearchHit} Hit */
/** @typedef {import("./types").Collection} Collection */

const SUGGESTIONS = ["something to eat", "an animal", "a way to travel", "music"];
const FIELDS = { query: "query", top_k: "hits", filter: "add-condition", weighted: "add-word", collection: "collection", image: "search-files" };

/** @type {Collection[]} */
let collections = [];
/** @type {import("./types").GetServerInfoResponse} */
let info;
/** @type {Pictures} */
let picture;
/** @type {Conditions} */
let conditions;
/** @type {Thumbnails | null} */
let thumbnails = null;
let like = "";
let running = new AbortController();

/** Connects the view. */
export function start() {
  picture = new Pictures("search", { single: true, onchange: () => {} });
  conditions = new Conditions();
  byId("search-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    run();
  });
  byId("collection").addEventListener("change", chosen);
  byId("add-word").addEventListener("click", addWord);
  byId("example-collection").addEventListener("click", example);
  byId("query-suggestions").append(...SUGGESTIONS.map((text) =>
    h("button", { type: "button", class: "quiet", onclick: () => {
      byId("query").value = text;
      run();
    } }, text)));
  return { add: (/** @type {File[]} */ files) => {
    picture.add(files);
    if (!byId("search-form").hidden) run();
  }, shown };
}

/** Reads the collections. @param {import("./types").GetServerInfoResponse} server */
export async function shown(server) {
  info = server;
  if (!collections.length) byId("search-results").replaceChildren(h("p", { class: "about" }, "The collections are read…"));
  try {
    collections = await all("CollectionService/ListCollections", "collections");
  } catch (error) {
    return showError(byId("search-results"), error);
  }
  for (const old of byId("search-results").querySelectorAll(":scope > .error, :scope > .about:only-child")) old.remove();
  const names = collections.flatMap(({ name = "", aliases = [], count }) => [
    /** @type {[string, string]} */ ([name, `${name} (${counted(Number(count ?? 0), "picture")})`]),
    ...aliases.map((alias) => /** @type {[string, string]} */ ([alias, `${alias} → ${name}`])),
  ]);
  byId("search-empty").hidden = names.length > 0;
  byId("search-form").hidden = !names.length;
  fill(byId("collection"), names);
  const wanted = sessionWanted();
  if (names.some(([name]) => name === wanted)) byId("collection").value = wanted;
  byId("hits").max = limitsOf(server).topK;
  chosen();
}

let wantedName = "";
const sessionWanted = () => {
  const name = wantedName;
  wantedName = "";
  return name;
};

/** Chooses a collection as soon as the view is shown. @param {string} name */
export const choose = (name) => (wantedName = name);

/** @returns {Collection | undefined} */
const collection = () => {
  const name = byId("collection").value;
  return collections.find((each) => each.name === name || each.aliases?.includes(name));
};

function chosen() {
  const now = collection();
  if (!now) return;
  setLike("");
  conditions.use(now.schema ?? []);
  byId("query-suggestions").hidden = now.name !== EXAMPLE;
  byId("collection-hint").textContent = `Model ${now.model?.name}. ` +
    (now.keepSources ? "It stores its pictures, so results show them." : "It does not store its pictures: results have names only.");
}

async function example() {
  const progress = byId("example-progress");
  byId("example-collection").disabled = true;
  try {
    choose(await makeExample(info, (text) => (progress.textContent = text)));
    progress.textContent = "";
    await shown(info);
    byId("query").value = SUGGESTIONS[0];
    await run();
  } catch (error) {
    progress.textContent = "";
    showError(byId("search-empty"), error);
  } finally {
    byId("example-collection").disabled = false;
  }
}

function addWord() {
  const row = h("li", { class: "row" },
    h("select", { class: "how", "aria-label": "More or less" }, h("option", { value: "1" }, "more"), h("option", { value: "-1" }, "less")),
    h("input", { class: "what", "aria-label": "Word", placeholder: "snow", required: true }),
    h("input", { class: "weight", "aria-label": "Weight", type: "number", min: "0.1", max: "10", step: "0.1", value: "0.5", required: true }),
    h("button", { type: "button", class: "remove", "aria-label": "Remove this word", onclick: () => {
      row.remove();
      byId("add-word").focus();
    } }, "×"));
  byId("words").append(row);
  row.querySelector("select")?.focus();
}

/** Searches for pictures that are like a point. @param {string} id */
function setLike(id) {
  like = id;
  byId("like").hidden = !id;
  byId("like").replaceChildren(...(id ? ["Like ", h("strong", {}, id), " ", h("button", {
    type: "button", class: "remove", "aria-label": `Do not search like ${id}`, onclick: () => {
      setLike("");
      byId("query").focus();
    } }, "×")] : []));
}

/** The parts of the query, without the contents of a picture. @returns {import("./types").WeightedPart[]} */
function parts() {
  const text = byId("query").value.trim();
  const words = [...byId("words").children].map((row) => ({
    weight: Number(row.querySelector(".how").value) * Number(row.querySelector(".weight").value),
    text: row.querySelector(".what").value,
  }));
  return [
    ...(text ? [{ weight: 1, text }] : []),
    ...picture.items.map(() => ({ weight: 1, image: {} })),
    ...(like ? [{ weight: 1, like }] : []),
    ...words,
  ];
}

async function run() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const results = byId("search-results");
  const query = parts();
  const item = picture.items[0];
  const why = item && refusal(item.file, limitsOf(info), size);
  if (!query.length || why) {
    results.replaceChildren(h("p", { class: "error", role: "alert" }, why || "Type what you look for, or choose a picture."));
    if (!why) byId("query").focus();
    return;
  }
  const filter = conditions.filter();
  const { weight, ...only } = query[0];
  const base = {
    collection: byId("collection").value,
    ...(query.length === 1 && weight === 1 ? only : { weighted: { parts: query } }),
    topK: Number(byId("hits").value),
    ...(filter && { filter }),
    ...(byId("fold").checked && { groupDuplicates: true }),
  };
  results.setAttribute("aria-busy", "true");
  try {
    const content = item ? await base64(item.file) : "";
    const answer = await call("ClipService/Search", withContent(base, content), { signal, tries: 2 });
    draw(results, answer.message, query);
    results.append(await explain({ ...answer, kind: "search", request: base, files: item ? [item.file.name] : [] }));
  } catch (error) {
    if (!signal.aborted) showError(results, error, FIELDS);
  } finally {
    if (!signal.aborted) results.setAttribute("aria-busy", "false");
  }
}

/** @param {any} request @param {string} content */
function withContent(request, content) {
  if (request.image) return { ...request, image: { content } };
  if (!request.weighted) return request;
  const parts = request.weighted.parts.map((/** @type {any} */ part) => (part.image ? { ...part, image: { content } } : part));
  return { ...request, weighted: { parts } };
}

const PERCENTILE = "“Beats 99\u00a0% of random pairs” means: of 100 pairs drawn by chance from this collection, 99 score lower than your query with this picture. The cosine is that score, from −1 to 1.";

/** @param {HTMLElement} results @param {import("./types").SearchResponse} response @param {any[]} query */
function draw(results, response, query) {
  thumbnails?.close();
  thumbnails = new Thumbnails(byId("collection").value, collection()?.keepSources ?? false);
  const hits = response.hits ?? [];
  const said = hits.length ? `${counted(hits.length, "picture")}, best first.` : "Nothing matches.";
  const notes = [
    hits.some((hit) => hit.percentile !== undefined) && PERCENTILE,
    response.weakMatch && "None of these is a clear match: each scores like many random pictures would. The collection may not have what you look for.",
    response.truncated && "The text did not fit into the model’s context; its end was not used.",
    response.incomplete && "Near-duplicates may be missing: too many pictures have similar scores.",
    !hits.length && (byId("conditions").children.length
      ? "No picture meets the filter. Remove a condition, or try others."
      : "The collection has no other pictures. Add some under Collections."),
    hits.length > 0 && query.length > 1 && "A weighted query has no percentiles.",
  ];
  results.replaceChildren(
    h("h2", {}, said),
    ...notes.filter(Boolean).map((note) => h("p", { class: "about" }, String(note))),
    h("ol", { class: "grid" }, ...hits.map((hit) => tile(hit))));
  announce(said);
}

/** @param {Hit} hit @returns {HTMLElement} */
function tile(hit) {
  const { id = "", duplicates = [], percentile } = hit;
  const fields = Object.entries(hit.payload ?? {});
  const twins = h("ol", { class: "grid twins" });
  const folded = duplicates.length > 0 && h("details", { ontoggle: () => {
    if (!twins.children.length) twins.append(...duplicates.map((twin) => tile(twin)));
  } }, h("summary", {}, counted(duplicates.length, "near-duplicate")), twins);
  return h("li", {}, h("figure", { class: "hit" },
    /** @type {Thumbnails} */ (thumbnails).place(id),
    h("figcaption", {},
      h("span", { class: "name", title: id }, id),
      percentile !== undefined && h("strong", {}, beats(percentile)),
      h("span", { class: "hint" }, `cosine ${cosine(hit.score)}`),
      h("button", { type: "button", class: "quiet", "aria-label": `More like this: ${id}`, onclick: () => {
        picture.clear();
        byId("query").value = "";
        byId("words").replaceChildren();
        setLike(id);
        byId("search-form").scrollIntoView({ block: "nearest" });
        run();
      } }, "More like this"),
      folded,
      fields.length > 0 && h("details", {}, h("summary", {}, "Fields"),
        h("dl", {}, ...fields.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, shownValue(value))]))))));
}

/** @param {number} percentile */
function beats(percentile) {
  const shown = percentile >= 99.95 ? "99.9" : percentile.toFixed(1).replace(/\.0$/, "");
  return `beats ${shown}\u00a0% of random pairs`;
}

/** @param {any} value */
function shownValue(value) {
  return String(value.stringValue ?? value.intValue ?? value.doubleValue ?? value.timestampValue ??
    value.boolValue ?? (value.stringList?.values ?? []).join(", "));
}
