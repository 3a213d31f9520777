"""Checks a call's token, its method and its rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from clipserve_gateway.access.caller import Caller
from clipserve_gateway.access.grants import Grant
from clipserve_gateway.access.methods import methods_of
from clipserve_gateway.access.rate import Bucket, Rate
from clipserve_gateway.access.tokens import BadTokenFile, TokenTable, digest_of, read_token_file
from clipserve_gateway.errors import PermissionDenied, RateLimited, Unauthenticated
from clipserve_gateway.process.watched_files import BadFile, Watched
from clipserve_gateway.settings import Settings

HEADER = "authorization"
SCHEME = "bearer "


class TokenGate:
    """Holds the tokens, and how much of its rate each token has used."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile if the token file is not valid."""
        path = settings.token_file
        self.tokens = Watched([path], lambda: read_tokens(path)) if path else None
        self._refused_methods = frozenset() if settings.admin_rpcs else methods_of("admin")
        self._buckets: dict[tuple[str, Rate], Bucket] = {}

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller | None:
        """The holder of the token; None on a gateway without tokens. Raises Unauthenticated."""
        if self.tokens is None:
            return None
        digest = digest_of(token_in(metadata))
        return Caller(digest, self._grant(digest))

    def refresh(self, caller: Caller) -> Caller:
        """The caller with what its token allows now. Raises Unauthenticated if the token was withdrawn."""
        return dataclasses.replace(caller, grant=self._grant(caller.digest))

    def _grant(self, digest: bytes) -> Grant:
        grant = self.tokens.value.find(digest) if self.tokens is not None else None
        if grant is None:
            raise Unauthenticated("this server does not accept this token", metadata={"token": "unknown"})
        if grant.expired():
            raise Unauthenticated(f"token {grant.name!r} has expired", metadata={"token": "expired"})
        return grant

    def permit(self, caller: Caller | None, method: str) -> None:
        """Raises PermissionDenied if the method is not served, or not allowed to this caller."""
        if method in self._refused_methods:
            raise PermissionDenied(
                f"this server refuses {method} and all other calls that change whole collections, aliases, "
                "label sets or migrations (setting CLIPSERVE_ADMIN_RPCS=false)",
                metadata={"method": method, "setting": "admin_rpcs"},
            )
        if caller is not None and method not in caller.grant.methods:
            raise PermissionDenied(
                f"token {caller.grant.name!r} may not call {method}", metadata={"method": method}
            )

    def charge(self, caller: Caller, items: int) -> None:
        """Takes the items from the caller's rate. If it has too few, takes nothing and raises RateLimited."""
        bucket = self._bucket(caller)
        if bucket is not None and (wait := bucket.take(items)):
            raise rate_limited(caller.grant.name, bucket.rate, wait)

    def reserve(self, caller: Caller, items: int) -> float:
        """Takes the items from the caller's rate, even if it has too few; returns the seconds to wait."""
        bucket = self._bucket(caller)
        return bucket.reserve(items) if bucket is not None else 0.0

    def _bucket(self, caller: Caller) -> Bucket | None:
        """The bucket of the token's name; a reload of the token file keeps it. None without a rate."""
        rate = caller.grant.rate
        if rate is None:
            return None
        return self._buckets.setdefault((caller.grant.name, rate), Bucket(rate))


def read_tokens(path: str) -> TokenTable:
    """The tokens of the file. Raises BadFile."""
    try:
        return read_token_file(path)
    except OSError as error:
        raise BadFile(f"token_file: {path} cannot be read ({error.strerror})") from error
    except BadTokenFile as error:
        raise BadFile(f"token_file: {path}: {error}") from None


def token_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The bearer token in a call's metadata. Raises Unauthenticated unless there is exactly one."""
    values = [value for key, value in metadata if key == HEADER]
    if not values:
        raise Unauthenticated(
            "this server requires a token: send `authorization: Bearer TOKEN`", metadata={"token": "missing"}
        )
    (value, *others) = values
    if others or not isinstance(value, str) or not value.lower().startswith(SCHEME):
        raise Unauthenticated(
            "send exactly one header `authorization: Bearer TOKEN`", metadata={"token": "malformed"}
        )
    return value[len(SCHEME) :].strip()


def rate_limited(name: str, rate: Rate, wait: float) -> RateLimited:
    """The error of a caller above its rate."""
    return RateLimited(
        f"token {name!r} is limited to {rate.per_second:g} items a second; try again in {wait:.2f} s",
        metadata={"items_per_second": f"{rate.per_second:g}", "burst": f"{rate.burst:g}"},
        retry_after=wait,
    )
