"""Channels and single calls: addresses, TLS, proxies, forks, and the retries of one call."""
