// @ts-check
/** The example collection: small pictures that come with this page. */

import { ApiError, call } from "./api.js";
import { web } from "./feedback.js";
import { SCHEMA, upload } from "./upload.js";

export const NAME = "example-pictures";
export const PICTURES = [
  "airplane", "apple-red", "astronaut", "bicycle", "bus-red", "butterfly-swallowtail", "castle", "cat", "cat-siamese",
  "coffee", "coffee-cup", "dog-beagle", "elephant", "guitar-acoustic", "horse-running", "hot-air-balloon", "lighthouse",
  "owl", "piano", "pizza-slice", "rocket", "rose-pink", "sailboat", "snowman", "strawberry", "sunflower", "tiger", "tractor",
];

/**
 * Creates the collection and writes the pictures; returns its name. Raises ApiError.
 * @param {import("./types").GetServerInfoResponse} info
 * @param {(text: string) => void} say
 */
export async function makeExample(info, say) {
  say("The collection is created…");
  try {
    await call("CollectionService/CreateCollection", { name: NAME, schema: SCHEMA, keepSources: info.keepsSources ?? false }, { tries: 3 });
  } catch (error) {
    // From a try that did not get to its end.
    if (!(error instanceof ApiError) || error.code !== "already_exists") throw error;
  }
  const items = await Promise.all(PICTURES.map(async (name) => {
    const blob = await (await fetch(`${web}/examples/${name}.webp`)).blob();
    return { path: `${name}.webp`, file: new File([blob], `${name}.webp`, { type: blob.type }) };
  }));
  let failure = "";
  await upload(NAME, SCHEMA, items, info, {
    failed: (item, words) => (failure ||= `${item.path}: ${words}`),
    progress: (done) => say(`${done} of ${items.length} pictures are written…`),
  }, new AbortController().signal);
  if (failure) throw new ApiError("internal", failure);
  return NAME;
}
