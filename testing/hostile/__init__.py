"""Bad input by name: images, texts, vectors, payloads, filters, requests and bytes on the wire.

Every case says what is promised: an answer, or one error with its reason and the field at fault. The same
cases run against a gateway around a fake encoder, against the real service, and as seeds of the fuzzer.
"""
