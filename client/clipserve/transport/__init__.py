"""Connections and single calls: addresses, TLS, proxies, forks, and retries of one call."""
