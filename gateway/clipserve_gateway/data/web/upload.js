// @ts-check
/** Writes pictures into a collection, in batches, with progress and an error for each file. */

import { ApiError, base64, batches, call, limitsOf, refusal } from "./api.js";
import { size } from "./dom.js";

/** Fields of the payload; those that `clipserve index` writes too. */
export const SCHEMA = /** @type {import("./types").PayloadField[]} */ ([
  { name: "path", type: "PAYLOAD_TYPE_STRING" },
  { name: "folder", type: "PAYLOAD_TYPE_STRING" },
  { name: "bytes", type: "PAYLOAD_TYPE_INT" },
  { name: "modified", type: "PAYLOAD_TYPE_TIMESTAMP" },
]);
const BATCH = 16;
const AT_ONCE = 2;
const TRIES = 8;

/** @typedef {{ path: string, file: File }} Item */
/**
 * @typedef {object} Listener
 * @property {(item: Item, words: string) => void} failed
 * @property {(done: number) => void} progress
 * @property {(done: import("./how.js").Done) => void} [answered]
 */

/**
 * Writes the pictures. Raises ApiError if all further batches would fail too, e.g. without a valid token.
 * @param {string} collection
 * @param {import("./types").PayloadField[]} schema of the collection
 * @param {Item[]} items
 * @param {import("./types").GetServerInfoResponse} info
 * @param {Listener} listener
 * @param {AbortSignal} signal
 */
export async function upload(collection, schema, items, info, listener, signal) {
  const limits = limitsOf(info);
  const names = new Set(schema.map(({ name = "" }) => name));
  let done = 0;
  /** @param {number} count */
  const advance = (count) => listener.progress((done += count));
  const sendable = items.filter((item) => {
    const why = refusal(item.file, limits, size);
    if (why) {
      listener.failed(item, why);
      advance(1);
    }
    return !why;
  });
  const queue = batches(sendable, limits, BATCH);
  const own = new AbortController();
  const both = AbortSignal.any([signal, own.signal]);
  const work = async () => {
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      both.throwIfAborted();
      await write(batch);
      advance(batch.length);
    }
  };
  /** @param {Item[]} batch */
  const write = async (batch) => {
    const read = await Promise.allSettled(batch.map(({ file }) => base64(file)));
    const readable = batch.filter((item, i) => {
      const outcome = read[i];
      if (outcome.status === "rejected") listener.failed(item, `The browser cannot read it: ${outcome.reason?.message ?? "it may have moved"}.`);
      return outcome.status === "fulfilled";
    });
    const contents = read.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    if (!readable.length) return;
    const points = readable.map((item) => ({ id: item.path, payload: payload(item, names) }));
    const full = points.map((point, i) => ({ ...point, image: { content: contents[i] } }));
    try {
      const answer = await call("CollectionService/UpsertPoints", { collection, points: full },
        { signal: both, seconds: 300, bulk: true, tries: TRIES });
      for (const [i, status] of (answer.message.statuses ?? []).entries())
        if (status.code) listener.failed(readable[i], status.message ?? "It failed.");
      listener.answered?.({ ...answer, kind: "upsert", request: { collection, points }, files: readable.map(({ path }) => path) });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "invalid_argument") throw error;
      // A path that cannot be an id, for example, concerns this batch alone.
      if (readable.length === 1) listener.failed(readable[0], error.message);
      else for (const item of readable) await write([item]);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } catch (error) {
    own.abort();
    throw error;
  }
}

/** @param {Item} item @param {Set<string>} names @returns {Record<string, import("./types").Value>} */
function payload({ path, file }, names) {
  const values = /** @type {Record<string, import("./types").Value>} */ ({
    path: { stringValue: path },
    folder: { stringValue: path.includes("/") ? path.replace(/\/[^/]*$/, "") : "." },
    bytes: { intValue: String(file.size) },
    modified: { timestampValue: new Date(Math.floor(file.lastModified / 1000) * 1000).toISOString() },
  });
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.has(name)));
}
