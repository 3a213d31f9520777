// Calls a running service with a generated Connect client: node client.js URL json|binary CASE

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import { timestampFromDate, timestampDate } from "@bufbuild/protobuf/wkt";

import { ClipService, ScoreMode } from "./generated/clipserve/v1/clip_pb.js";
import { CollectionService } from "./generated/clipserve/v1/collection_pb.js";
import { PayloadType } from "./generated/clipserve/v1/common_pb.js";
import { LabelSetService } from "./generated/clipserve/v1/labels_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./generated/google/rpc/error_details_pb.js";

const [baseUrl, format, wanted, picturePath] = process.argv.slice(2);
const picture = picturePath ? new Uint8Array(readFileSync(picturePath)) : new Uint8Array();

function transport(compress: boolean) {
  return createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    useBinaryFormat: format === "binary",
    ...(compress ? { sendCompression: compressionGzip, compressMinBytes: 0 } : { acceptCompression: [] }),
  });
}

const clip = createClient(ClipService, transport(false));
const collections = createClient(CollectionService, transport(false));
const labelSets = createClient(LabelSetService, transport(false));

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    assert(error instanceof ConnectError);
    return error;
  }
  assert.fail("the call succeeded");
}

/** Tries again after a failed assertion: for answers whose last bits depend on what shares their batch. */
async function inOneOf(tries: number, act: () => Promise<void>): Promise<void> {
  for (let left = tries - 1; ; left--) {
    try {
      return await act();
    } catch (error) {
      if (!left || !(error instanceof assert.AssertionError)) throw error;
    }
  }
}

const cases: Record<string, () => Promise<void>> = {
  async server_info() {
    const info = await clip.getServerInfo({});
    assert.equal(info.defaultModel, "demo");
    assert.equal(info.models[0].ref?.fingerprint.length, 64);
    assert.equal(typeof info.limits?.maxMessageBytes, "bigint");
    assert(info.limits && info.limits.maxMessageBytes > 1_000_000n);
  },

  async embed() {
    const inputs = [
      { input: { case: "text" as const, value: "a photo of a dog" } },
      { input: { case: "image" as const, value: { source: { case: "content" as const, value: picture } } } },
    ];
    const answer = await clip.embed({ inputs });
    assert.equal(answer.results.length, 2);
    for (const { status, embedding } of answer.results) {
      assert.equal(status?.code ?? 0, 0);
      assert.equal(embedding?.data.case, "float32Le");
      const bytes = embedding.data.value as Uint8Array;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const numbers = Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
      assert.equal(numbers.length, answer.model?.embedDim);
      assert(Math.abs(numbers.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-4, "length 1");
    }
    const zipped = createClient(ClipService, transport(true));
    await inOneOf(5, async () => {
      const both = [await zipped.embed({ inputs }), await clip.embed({ inputs })];
      assert.deepEqual(both[0], both[1], "the same answer when both directions are compressed");
    });
  },

  async classify() {
    const answer = await clip.classify({
      images: [{ source: { case: "content", value: picture } }],
      labels: { names: ["cat", "dog", "car"] },
      topK: 3,
    });
    assert.equal(answer.scoreMode, ScoreMode.SOFTMAX);
    const scores = answer.results[0].scores;
    assert.deepEqual(scores.map((score) => score.label).sort(), ["car", "cat", "dog"]);
    const sum = scores.reduce((total, score) => total + (score.probability ?? NaN), 0);
    assert(Math.abs(sum - 1) < 1e-4, "probabilities add up to 1");
  },

  async points() {
    const collection = `typescript_${format}`;
    const day = new Date("2026-01-02T03:04:05Z");
    await collections.createCollection({
      name: collection,
      schema: [
        { name: "size", type: PayloadType.INT },
        { name: "taken", type: PayloadType.TIMESTAMP },
      ],
    });
    try {
      const payload = {
        size: { kind: { case: "intValue" as const, value: 9007199254740993n } },
        taken: { kind: { case: "timestampValue" as const, value: timestampFromDate(day) } },
      };
      const source = { case: "text" as const, value: "a red bicycle" };
      const written = await collections.upsertPoints({ collection, points: [{ id: "a", source, payload }] });
      assert.equal(written.statuses.length, 1);
      assert.equal(written.statuses[0].code, 0);
      const range = { field: "size", gt: { kind: { case: "intValue" as const, value: 9007199254740992n } } };
      const found = await clip.search({
        collection,
        query: { case: "text", value: "a bicycle" },
        filter: { node: { case: "range", value: range } },
      });
      assert.deepEqual(found.hits.map((hit) => hit.id), ["a"]);
      const { size, taken } = found.hits[0].payload;
      assert.equal(size.kind.value, 9007199254740993n);
      assert(taken.kind.case === "timestampValue");
      assert.deepEqual(timestampDate(taken.kind.value), day);
      assert.equal((await collections.countPoints({ collection })).count, 1n);
    } finally {
      await collections.deleteCollection({ name: collection });
    }
  },

  async label_sets() {
    const name = `typescript_${format}`;
    const stored = await labelSets.putLabelSet({ name, labels: { names: ["Ünïcode", "犬"] } });
    assert.equal(stored.created, true);
    const { labels } = await labelSets.getLabelSet({ ref: { name } });
    assert.deepEqual(labels?.names, ["Ünïcode", "犬"]);
    assert.equal((await labelSets.deleteLabelSet({ ref: { name } })).deleted, 1);
  },

  async error_details() {
    const error = await failure(clip.classify({ labels: { names: ["cat"] } }));
    assert.equal(error.code, Code.InvalidArgument);
    const [info] = error.findDetails(ErrorInfoSchema);
    assert.equal(info.domain, "clipserve");
    assert.match(info.reason, /^[A-Z_]+$/);
    const [bad] = error.findDetails(BadRequestSchema);
    assert.equal(bad.fieldViolations[0].field, "images");
    assert.equal(bad.fieldViolations[0].reason, info.reason);
  },

  async request_id() {
    let header: string | null = null;
    const headers = { "x-request-id": "from-typescript" };
    await clip.getServerInfo({}, { headers, onHeader: (all) => (header = all.get("x-request-id")) });
    assert.equal(header, "from-typescript");
  },

  async deadline() {
    const text = { input: { case: "text" as const, value: "too late" } };
    const error = await failure(clip.embed({ inputs: [text] }, { timeoutMs: 1 }));
    assert.equal(error.code, Code.DeadlineExceeded);
  },

  async streams() {
    const error = await failure(
      (async () => {
        for await (const _ of clip.embedStream((async function* () {})())) assert.fail("an answer");
      })(),
    );
    assert([Code.Unimplemented, Code.Unknown, Code.InvalidArgument].includes(error.code), `${error}`);
  },
};

await cases[wanted]();
