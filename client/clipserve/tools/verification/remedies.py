"""What to do about a failed check."""

ROWS = (
    "the rows of a request are mixed up: send no traffic to this release, go back to the one before, and "
    "report it"
)
BATCH = (
    "the embedding of an input must not depend on what is computed beside it: export the model again with "
    "--precision fp32 and compare; if that does not help, report it"
)
RECORDED = (
    "compare pixels and token ids with `clipserve-gateway verify --golden FILE`; if they are equal, export "
    "the model again on the machine that serves, and restart Triton"
)
TOKENIZER = (
    "the gateway's tokenizer differs from open_clip's: compare token ids with `clipserve-gateway verify "
    "--golden FILE`"
)
FORM = "the same pixels must give the same embedding: use a gateway and a client of the same release"
STREAM = "streams and single requests must agree: check that no proxy between them changes messages"
NORMALIZED = "embeddings must have length 1 unless raw ones are requested: use another release"
ALIKE = (
    "the model answers every input alike, as with random or damaged weights: export it again with "
    "--pretrained"
)
REFUSED = "these inputs are valid: read the server's log, and check its limits with `clipserve info`"
FINGERPRINT = "roll out the export that wrote the golden file, or use the golden file of the served export"
REPLACED = "the model was replaced during the checks: run them again when the rollout is complete"
NOT_READY = "wait until `clipserve info` shows the model as ready"
LABELS = (
    "cosines of Classify must be those of the embeddings: the embeddings of labels may be of another state "
    "of the model; restart the gateways, and report it if that does not help"
)
PROBABILITIES = "use a gateway and a client of the same release, and report it if that does not help"
