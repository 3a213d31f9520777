"""The Milvus engine. Only this folder imports pymilvus."""
