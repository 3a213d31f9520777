// The API's messages in JSON, made from protos/ by `make protos`. Fields with default values may be absent.

/** A 64-bit integer: a string in answers; requests may have numbers. */
export type Int64 = string | number;
/** Bytes in base64. */
export type Bytes = string;
/** A point in time, e.g. `2024-05-01T12:00:00Z`. */
export type Timestamp = string;

export type EmbeddingFormat =
  | "EMBEDDING_FORMAT_UNSPECIFIED"
  | "EMBEDDING_FORMAT_FLOAT32_LE"
  | "EMBEDDING_FORMAT_FLOAT16_LE"
  | "EMBEDDING_FORMAT_FLOAT_LIST"
  | "EMBEDDING_FORMAT_INT8"
  | "EMBEDDING_FORMAT_UINT8"
  | "EMBEDDING_FORMAT_BINARY"
  | "EMBEDDING_FORMAT_UBINARY";

export type PayloadType =
  | "PAYLOAD_TYPE_UNSPECIFIED"
  | "PAYLOAD_TYPE_STRING"
  | "PAYLOAD_TYPE_INT"
  | "PAYLOAD_TYPE_DOUBLE"
  | "PAYLOAD_TYPE_BOOL"
  | "PAYLOAD_TYPE_TIMESTAMP"
  | "PAYLOAD_TYPE_STRING_LIST";

export interface Image {
  content?: Bytes;
  raw?: RawImage;
  exactPixels?: boolean;
}

export interface RawImage {
  rgb?: Bytes;
  width?: number;
  height?: number;
  orientation?: number;
}

export interface ImageRules {
  applyOrientation?: boolean;
  alphaBackground?: string;
}

export interface Embedding {
  float32Le?: Bytes;
  float16Le?: Bytes;
  values?: FloatList;
  int8?: Bytes;
  uint8?: Bytes;
  binary?: Bytes;
  ubinary?: Bytes;
}

export interface FloatList {
  values?: number[];
}

export interface ItemStatus {
  code?: number;
  reason?: string;
  field?: string;
  message?: string;
}

export interface ModelRef {
  name?: string;
  fingerprint?: string;
  embedDim?: number;
}

export interface Value {
  stringValue?: string;
  intValue?: Int64;
  doubleValue?: number;
  boolValue?: boolean;
  timestampValue?: Timestamp;
  stringList?: StringList;
}

export interface StringList {
  values?: string[];
}

export interface Filter {
  eq?: EqFilter;
  inList?: InFilter;
  range?: RangeFilter;
  allOf?: FilterList;
  anyOf?: FilterList;
  negation?: Filter;
}

export interface EqFilter {
  field?: string;
  value?: Value;
}

export interface InFilter {
  field?: string;
  values?: Value[];
}

export interface RangeFilter {
  field?: string;
  gt?: Value;
  gte?: Value;
  lt?: Value;
  lte?: Value;
}

export interface FilterList {
  filters?: Filter[];
}

export type ScoreMode =
  | "SCORE_MODE_UNSPECIFIED"
  | "SCORE_MODE_SOFTMAX"
  | "SCORE_MODE_INDEPENDENT";

export type LabelWarningReason =
  | "LABEL_WARNING_REASON_UNSPECIFIED"
  | "LABEL_WARNING_REASON_SAME"
  | "LABEL_WARNING_REASON_CUT";

export type Consistency =
  | "CONSISTENCY_UNSPECIFIED"
  | "CONSISTENCY_BOUNDED"
  | "CONSISTENCY_STRONG";

export interface LabelSet {
  names?: string[];
  templates?: string[];
  thresholds?: number[];
  noneOfTheAbove?: NoneOfTheAbove;
}

export interface NoneOfTheAbove {
  name?: string;
  prompts?: string[];
  threshold?: number;
}

export interface LabelSetRef {
  name?: string;
  version?: number;
}

export interface ClassifyRequest {
  model?: string;
  images?: Image[];
  labels?: LabelSet;
  topK?: number;
  scoreMode?: ScoreMode;
  labelSet?: LabelSetRef;
}

export interface ClassifyResponse {
  results?: ClassifyResult[];
  model?: ModelRef;
  scoreMode?: ScoreMode;
  logitScale?: number;
  truncatedPrompts?: number;
  labelSet?: LabelSetRef;
  warnings?: LabelWarning[];
  logitBias?: number;
}

export interface LabelWarning {
  reason?: LabelWarningReason;
  labels?: number[];
  count?: number;
  message?: string;
}

export interface PrepareLabelsRequest {
  model?: string;
  labels?: LabelSet;
  labelSet?: LabelSetRef;
  maxMilliseconds?: number;
}

export interface PrepareLabelsResponse {
  model?: ModelRef;
  labelSet?: LabelSetRef;
  total?: number;
  done?: number;
  encoded?: number;
}

export interface ClassifyResult {
  status?: ItemStatus;
  scores?: LabelScore[];
}

export interface LabelScore {
  label?: string;
  index?: number;
  probability?: number;
  cosine?: number;
  aboveThreshold?: boolean;
}

export interface EmbedInput {
  image?: Image;
  text?: string;
}

export interface EmbedRequest {
  model?: string;
  inputs?: EmbedInput[];
  raw?: boolean;
  format?: EmbeddingFormat;
  dimensions?: number;
  allowTruncation?: boolean;
}

export interface EmbedResponse {
  results?: EmbedResult[];
  model?: ModelRef;
  normalized?: boolean;
  dimensions?: number;
}

export interface EmbedResult {
  status?: ItemStatus;
  embedding?: Embedding;
  truncated?: boolean;
  tokens?: number;
}

export interface EmbedStreamRequest {
  batchId?: Int64;
  request?: EmbedRequest;
}

export interface EmbedStreamResponse {
  batchId?: Int64;
  status?: ItemStatus;
  response?: EmbedResponse;
}

export interface SearchRequest {
  collection?: string;
  text?: string;
  image?: Image;
  embedding?: Embedding;
  like?: string;
  weighted?: WeightedQuery;
  topK?: number;
  scoreThreshold?: number;
  filter?: Filter;
  omitPayload?: boolean;
  fingerprint?: string;
  consistency?: Consistency;
  payloadFields?: string[];
  groupDuplicates?: boolean;
  duplicateThreshold?: number;
}

export interface WeightedQuery {
  parts?: WeightedPart[];
}

export interface WeightedPart {
  weight?: number;
  text?: string;
  image?: Image;
  embedding?: Embedding;
  like?: string;
}

export interface SearchResponse {
  hits?: SearchHit[];
  model?: ModelRef;
  truncated?: boolean;
  incomplete?: boolean;
  weakMatch?: boolean;
}

export interface SearchHit {
  id?: string;
  score?: number;
  payload?: Record<string, Value>;
  percentile?: number;
  duplicates?: SearchHit[];
}

export interface GetServerInfoRequest {
}

export interface GetServerInfoResponse {
  version?: string;
  models?: ModelInfo[];
  defaultModel?: string;
  limits?: Limits;
  engine?: string;
  keepsSources?: boolean;
  restoresSources?: boolean;
  insertsNewPoints?: boolean;
  imageRules?: ImageRules;
}

export interface ModelInfo {
  ref?: ModelRef;
  ready?: boolean;
  architecture?: string;
  pretrained?: string;
  imageSize?: number;
  contextLength?: number;
  logitScale?: number;
  logitBias?: number;
  precision?: string;
  device?: string;
  tokenizer?: string;
  tokenizerSha256?: string;
  textClean?: string;
  vocabSize?: number;
  imageHeight?: number;
  imageWidth?: number;
  resize?: string;
  interpolation?: string;
  license?: string;
  matryoshkaDims?: number[];
}

export interface Limits {
  maxMessageBytes?: Int64;
  maxItemsPerCall?: number;
  maxImageBytes?: Int64;
  maxImagePixels?: Int64;
  maxLabels?: number;
  maxPrompts?: number;
  maxTopK?: number;
  maxTextBytes?: Int64;
  streamWindow?: number;
  maxPayloadBytes?: Int64;
  maxPageSize?: number;
  maxLabelBytes?: Int64;
  maxFilterBytes?: Int64;
  maxHeldBytes?: Int64;
  maxCallsPerCaller?: number;
  maxStreamsPerCaller?: number;
  maxJsonBytes?: Int64;
}

export type Metric =
  | "METRIC_UNSPECIFIED"
  | "METRIC_COSINE";

export type IndexState =
  | "INDEX_STATE_UNSPECIFIED"
  | "INDEX_STATE_NONE"
  | "INDEX_STATE_BUILDING"
  | "INDEX_STATE_READY";

export type MigrationState =
  | "MIGRATION_STATE_UNSPECIFIED"
  | "MIGRATION_STATE_RUNNING"
  | "MIGRATION_STATE_READY"
  | "MIGRATION_STATE_SWITCHED"
  | "MIGRATION_STATE_WAITING";

export interface PayloadField {
  name?: string;
  type?: PayloadType;
}

export interface Collection {
  name?: string;
  model?: ModelRef;
  metric?: Metric;
  schema?: PayloadField[];
  count?: Int64;
  createTime?: Timestamp;
  aliases?: string[];
  keepSources?: boolean;
  indexOptions?: IndexOptions;
  indexStatus?: IndexStatus;
  migration?: Migration;
  scoreStatistics?: ScoreStatistics[];
  imageRules?: ImageRules;
}

export interface IndexOptions {
  exact?: boolean;
  m?: number;
  efConstruction?: number;
  efSearch?: number;
}

export interface IndexStatus {
  state?: IndexState;
  indexed?: Int64;
}

export interface ScoreStatistics {
  query?: string;
  pairs?: Int64;
  mean?: number;
  stddev?: number;
  p50?: number;
  p95?: number;
  p99?: number;
  p999?: number;
}

export interface Migration {
  state?: MigrationState;
  from?: ModelRef;
  to?: ModelRef;
  total?: Int64;
  done?: Int64;
  failed?: Int64;
  failures?: FailedPoint[];
  overlap?: NeighborOverlap;
  error?: string;
  startTime?: Timestamp;
  fromImageRules?: ImageRules;
  toImageRules?: ImageRules;
}

export interface FailedPoint {
  id?: string;
  message?: string;
}

export interface NeighborOverlap {
  k?: number;
  queries?: number;
  mean?: number;
  p10?: number;
}

export interface Alias {
  name?: string;
  collection?: string;
}

export interface PointInput {
  id?: string;
  image?: Image;
  text?: string;
  embedding?: Embedding;
  payload?: Record<string, Value>;
  sourceUri?: string;
  keptImage?: Image;
  keptText?: string;
  mustBeNew?: boolean;
}

export interface Point {
  id?: string;
  payload?: Record<string, Value>;
  embedding?: Embedding;
  imageContent?: Bytes;
  text?: string;
  sourceUri?: string;
}

export interface CreateCollectionRequest {
  name?: string;
  model?: string;
  metric?: Metric;
  schema?: PayloadField[];
  keepSources?: boolean;
  indexOptions?: IndexOptions;
  imageRules?: ImageRules;
}

export interface CreateCollectionResponse {
  collection?: Collection;
}

export interface GetCollectionRequest {
  name?: string;
}

export interface GetCollectionResponse {
  collection?: Collection;
}

export interface ListCollectionsRequest {
  pageSize?: number;
  pageToken?: string;
}

export interface ListCollectionsResponse {
  collections?: Collection[];
  nextPageToken?: string;
}

export interface DeleteCollectionRequest {
  name?: string;
}

export interface DeleteCollectionResponse {
}

export interface PurgeCollectionRequest {
  name?: string;
}

export interface PurgeCollectionResponse {
}

export interface UpsertPointsRequest {
  collection?: string;
  points?: PointInput[];
  fingerprint?: string;
}

export interface UpsertPointsResponse {
  statuses?: ItemStatus[];
  model?: ModelRef;
  truncated?: number[];
}

export interface UpsertPointsStreamRequest {
  batchId?: Int64;
  request?: UpsertPointsRequest;
}

export interface UpsertPointsStreamResponse {
  batchId?: Int64;
  status?: ItemStatus;
  response?: UpsertPointsResponse;
}

export interface DeletePointsRequest {
  collection?: string;
  ids?: string[];
  filter?: Filter;
}

export interface DeletePointsResponse {
  deleted?: Int64;
}

export interface GetPointsRequest {
  collection?: string;
  ids?: string[];
  withEmbeddings?: boolean;
  withSources?: boolean;
}

export interface GetPointsResponse {
  points?: Point[];
  model?: ModelRef;
}

export interface ScrollPointsRequest {
  collection?: string;
  filter?: Filter;
  pageSize?: number;
  pageToken?: string;
  withEmbeddings?: boolean;
  withSources?: boolean;
}

export interface ScrollPointsResponse {
  points?: Point[];
  nextPageToken?: string;
  model?: ModelRef;
}

export interface CountPointsRequest {
  collection?: string;
  filter?: Filter;
}

export interface CountPointsResponse {
  count?: Int64;
}

export interface GetThumbnailRequest {
  collection?: string;
  id?: string;
  maxSide?: number;
}

export interface GetThumbnailResponse {
  jpeg?: Bytes;
  width?: number;
  height?: number;
}

export interface PutAliasRequest {
  alias?: Alias;
}

export interface PutAliasResponse {
  previousCollection?: string;
}

export interface DeleteAliasRequest {
  name?: string;
}

export interface DeleteAliasResponse {
}

export interface ListAliasesRequest {
  pageSize?: number;
  pageToken?: string;
}

export interface ListAliasesResponse {
  aliases?: Alias[];
  nextPageToken?: string;
}

export interface StartMigrationRequest {
  collection?: string;
  toModel?: string;
}

export interface StartMigrationResponse {
  collection?: Collection;
}

export interface SwitchMigrationRequest {
  collection?: string;
  withoutFailed?: boolean;
  acceptDropped?: Int64;
}

export interface SwitchMigrationResponse {
  collection?: Collection;
}

export interface RollBackMigrationRequest {
  collection?: string;
  acceptDropped?: Int64;
}

export interface RollBackMigrationResponse {
  collection?: Collection;
}

export interface EndMigrationRequest {
  collection?: string;
}

export interface EndMigrationResponse {
  collection?: Collection;
}

export interface LabelSetInfo {
  ref?: LabelSetRef;
  labelCount?: number;
  templateCount?: number;
  noneOfTheAbove?: boolean;
  contentHash?: string;
  createTime?: Timestamp;
  versions?: number[];
}

export interface PutLabelSetRequest {
  name?: string;
  labels?: LabelSet;
}

export interface PutLabelSetResponse {
  info?: LabelSetInfo;
  created?: boolean;
  warnings?: LabelWarning[];
}

export interface GetLabelSetRequest {
  ref?: LabelSetRef;
}

export interface GetLabelSetResponse {
  info?: LabelSetInfo;
  labels?: LabelSet;
}

export interface ListLabelSetsRequest {
  pageSize?: number;
  pageToken?: string;
}

export interface ListLabelSetsResponse {
  labelSets?: LabelSetInfo[];
  nextPageToken?: string;
}

export interface DeleteLabelSetRequest {
  ref?: LabelSetRef;
}

export interface DeleteLabelSetResponse {
  deleted?: number;
}

export interface Methods {
  "ClipService/Classify": [ClassifyRequest, ClassifyResponse];
  "ClipService/PrepareLabels": [PrepareLabelsRequest, PrepareLabelsResponse];
  "ClipService/Embed": [EmbedRequest, EmbedResponse];
  "ClipService/Search": [SearchRequest, SearchResponse];
  "ClipService/GetServerInfo": [GetServerInfoRequest, GetServerInfoResponse];
  "CollectionService/CreateCollection": [CreateCollectionRequest, CreateCollectionResponse];
  "CollectionService/GetCollection": [GetCollectionRequest, GetCollectionResponse];
  "CollectionService/ListCollections": [ListCollectionsRequest, ListCollectionsResponse];
  "CollectionService/DeleteCollection": [DeleteCollectionRequest, DeleteCollectionResponse];
  "CollectionService/PurgeCollection": [PurgeCollectionRequest, PurgeCollectionResponse];
  "CollectionService/PutAlias": [PutAliasRequest, PutAliasResponse];
  "CollectionService/DeleteAlias": [DeleteAliasRequest, DeleteAliasResponse];
  "CollectionService/ListAliases": [ListAliasesRequest, ListAliasesResponse];
  "CollectionService/UpsertPoints": [UpsertPointsRequest, UpsertPointsResponse];
  "CollectionService/DeletePoints": [DeletePointsRequest, DeletePointsResponse];
  "CollectionService/GetPoints": [GetPointsRequest, GetPointsResponse];
  "CollectionService/ScrollPoints": [ScrollPointsRequest, ScrollPointsResponse];
  "CollectionService/CountPoints": [CountPointsRequest, CountPointsResponse];
  "CollectionService/GetThumbnail": [GetThumbnailRequest, GetThumbnailResponse];
  "CollectionService/StartMigration": [StartMigrationRequest, StartMigrationResponse];
  "CollectionService/SwitchMigration": [SwitchMigrationRequest, SwitchMigrationResponse];
  "CollectionService/RollBackMigration": [RollBackMigrationRequest, RollBackMigrationResponse];
  "CollectionService/EndMigration": [EndMigrationRequest, EndMigrationResponse];
  "LabelSetService/PutLabelSet": [PutLabelSetRequest, PutLabelSetResponse];
  "LabelSetService/GetLabelSet": [GetLabelSetRequest, GetLabelSetResponse];
  "LabelSetService/ListLabelSets": [ListLabelSetsRequest, ListLabelSetsResponse];
  "LabelSetService/DeleteLabelSet": [DeleteLabelSetRequest, DeleteLabelSetResponse];
}
