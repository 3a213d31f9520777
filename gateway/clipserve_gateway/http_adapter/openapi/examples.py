"""An example of a request for each method. In this order, they work one after the other on one server."""

from __future__ import annotations

from typing import Any

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
"""One red pixel, a PNG file."""
COLLECTION, LABEL_SET = "bicycles", "animals"

EXAMPLES: dict[str, dict[str, Any]] = {
    "GetServerInfo": {},
    "Classify": {
        "images": [{"content": PICTURE}],
        "labels": {"names": ["cat", "dog"], "templates": ["a photo of a {}."]},
        "topK": 2,
    },
    "PrepareLabels": {"labels": {"names": ["cat", "dog"]}},
    "Embed": {
        "inputs": [{"text": "a photo of a dog"}, {"image": {"content": PICTURE}}],
        "format": "EMBEDDING_FORMAT_FLOAT_LIST",
    },
    "CreateCollection": {
        "name": COLLECTION,
        "schema": [{"name": "year", "type": "PAYLOAD_TYPE_INT"}],
        "keepSources": True,
    },
    "UpsertPoints": {
        "collection": COLLECTION,
        "points": [
            {"id": "1", "text": "a red bicycle", "payload": {"year": {"intValue": "2024"}}},
            {"id": "2", "image": {"content": PICTURE}},
        ],
    },
    "Search": {
        "collection": COLLECTION,
        "text": "a bicycle",
        "topK": 5,
        "filter": {"range": {"field": "year", "gte": {"intValue": "2020"}}},
    },
    "GetPoints": {"collection": COLLECTION, "ids": ["1"], "withEmbeddings": True, "withSources": True},
    "GetThumbnail": {"collection": COLLECTION, "id": "2", "maxSide": 320},
    "ScrollPoints": {"collection": COLLECTION, "pageSize": 100},
    "CountPoints": {"collection": COLLECTION},
    "DeletePoints": {"collection": COLLECTION, "ids": ["2"]},
    "PurgeCollection": {"name": COLLECTION},
    "GetCollection": {"name": COLLECTION},
    "ListCollections": {"pageSize": 100},
    "PutAlias": {"alias": {"name": "bikes", "collection": COLLECTION}},
    "ListAliases": {},
    "DeleteAlias": {"name": "bikes"},
    "StartMigration": {"collection": COLLECTION, "toModel": "twin"},
    "SwitchMigration": {"collection": COLLECTION},
    "RollBackMigration": {"collection": COLLECTION},
    "EndMigration": {"collection": COLLECTION},
    "DeleteCollection": {"name": COLLECTION},
    "PutLabelSet": {"name": LABEL_SET, "labels": {"names": ["cat", "dog"]}},
    "GetLabelSet": {"ref": {"name": LABEL_SET}},
    "ListLabelSets": {},
    "DeleteLabelSet": {"ref": {"name": LABEL_SET}},
}
"""Bodies in JSON, by name of the method."""
