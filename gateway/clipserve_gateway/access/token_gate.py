"""Whether a call may be made at all: its token, its method, and its rate."""

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


class Gate:
    """Knows the tokens, and how much of its rate each has used."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile where the token file cannot be used."""
        path = settings.token_file
        self.tokens = Watched([path], lambda: read_tokens(path)) if path else None
        self._refused_methods = frozenset() if settings.admin_rpcs else methods_of("admin")
        self._buckets: dict[tuple[str, Rate], Bucket] = {}

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller | None:
        """Who calls; None where no tokens are asked for. Raises Unauthenticated."""
        if self.tokens is None:
            return None
        digest = digest_of(token_in(metadata))
        return Caller(digest, self._grant(digest))

    def still(self, caller: Caller) -> Caller:
        """The caller with what its token allows now; Unauthenticated where it was withdrawn."""
        return dataclasses.replace(caller, grant=self._grant(caller.digest))

    def _grant(self, digest: bytes) -> Grant:
        grant = self.tokens.value.find(digest) if self.tokens is not None else None
        if grant is None:
            raise Unauthenticated("the server does not know this token", metadata={"token": "unknown"})
        if grant.expired():
            raise Unauthenticated(f"token {grant.name!r} has expired", metadata={"token": "expired"})
        return grant

    def permit(self, caller: Caller | None, method: str) -> None:
        """PermissionDenied where the method is not served, or not for this caller."""
        if method in self._refused_methods:
            raise PermissionDenied(
                f"this server is set up to refuse {method}, as all that changes whole collections, aliases, "
                "label sets or migrations (setting CLIPSERVE_ADMIN_RPCS)",
                metadata={"method": method, "setting": "admin_rpcs"},
            )
        if caller is not None and method not in caller.grant.methods:
            raise PermissionDenied(
                f"token {caller.grant.name!r} may not call {method}", metadata={"method": method}
            )

    def spend(self, caller: Caller, items: int) -> None:
        """Takes the items from the caller's rate; RateLimited, and nothing taken, where it has too few."""
        bucket = self._bucket(caller)
        if bucket is not None and (wait := bucket.take(items)):
            raise rate_limited(caller.grant.name, bucket.rate, wait)

    def reserve(self, caller: Caller, items: int) -> float:
        """Takes the items from the caller's rate in any case; seconds to let pass before they are used."""
        bucket = self._bucket(caller)
        return bucket.reserve(items) if bucket is not None else 0.0

    def _bucket(self, caller: Caller) -> Bucket | None:
        """The tokens of one name share a bucket, and keep it when the file is read again."""
        rate = caller.grant.rate
        if rate is None:
            return None
        key = (caller.grant.name, rate)
        if key not in self._buckets:
            self._buckets[key] = Bucket(rate)
        return self._buckets[key]


def read_tokens(path: str) -> TokenTable:
    """The tokens of the file; BadFile."""
    try:
        return read_token_file(path)
    except OSError as error:
        raise BadFile(f"token_file: {path} cannot be read ({error.strerror})") from error
    except BadTokenFile as error:
        raise BadFile(f"token_file: {path}: {error}") from None


def token_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The bearer token among a call's metadata; Unauthenticated unless there is exactly one."""
    found = [value for key, value in metadata if key == HEADER]
    if not found:
        raise Unauthenticated(
            "this server wants a token: send `authorization: Bearer TOKEN`", metadata={"token": "missing"}
        )
    (value, *others) = found
    if others or not isinstance(value, str) or not value.lower().startswith(SCHEME):
        raise Unauthenticated(
            "send `authorization: Bearer TOKEN`, once and in this form", metadata={"token": "malformed"}
        )
    return value[len(SCHEME) :].strip()


def rate_limited(name: str, rate: Rate, wait: float) -> RateLimited:
    """The error of a caller that asks for too much."""
    return RateLimited(
        f"token {name!r} may have {rate.per_second:g} items a second; try again in {wait:.2f} s",
        metadata={"items_per_second": f"{rate.per_second:g}", "burst": f"{rate.burst:g}"},
        retry_after=wait,
    )
