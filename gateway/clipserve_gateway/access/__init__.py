"""Who may call, and what each caller may do: TLS, tokens, and the rules that go with a token.

A call meets them in this order: the connection's handshake (tls), the token and the method, before a byte of
the request is read (interceptor), then the collections that the request names and its rate (judge).
"""
