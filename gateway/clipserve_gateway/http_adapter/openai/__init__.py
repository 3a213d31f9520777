"""OpenAI's embeddings API: `/v1/embeddings` and `/v1/models`.

A request becomes an EmbedRequest or a GetServerInfoRequest, and the answer of that method becomes OpenAI's.
"""
