"""Errors of the server or the network: the same request can succeed at another time or on another server."""

from __future__ import annotations

from clipserve.errors.base import ClipserveError


class Conflict(ClipserveError):
    """Another writer was faster and nothing was changed. It is safe to repeat the call."""

    code = "ABORTED"
    reason = "CONFLICT"


class ResourceExhausted(ClipserveError):
    """The request exceeds a limit that waiting does not change, e.g. the size of a message."""

    code = "RESOURCE_EXHAUSTED"


class Overloaded(ResourceExhausted):
    """The server has no capacity now. Try again after `retry_after` seconds."""

    reason = "OVERLOADED"


class RateLimited(Overloaded):
    """The token's limit of items per second is reached. Try again after `retry_after` seconds."""

    reason = "RATE_LIMITED"


class Unavailable(ClipserveError):
    """The server cannot be reached or does not accept calls now. It is safe to try again."""

    code = "UNAVAILABLE"


class ModelUnavailable(Unavailable):
    """The gateway answers, but no inference server serves the model now."""

    reason = "MODEL_UNAVAILABLE"


class StorageUnavailable(Unavailable):
    """The gateway answers, but it cannot reach its index engine now."""

    reason = "STORAGE_UNAVAILABLE"


class DeadlineExceeded(ClipserveError):
    """No answer arrived in the allowed time. Pass a larger `timeout`."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class Cancelled(ClipserveError):
    """The call was cancelled before it ended."""

    code = "CANCELLED"


class Unimplemented(ClipserveError):
    """The server does not know this call: it is older than this client, or it is not a clipserve server."""

    code = "UNIMPLEMENTED"


class InternalError(ClipserveError):
    """The server failed. Its log has details under `request_id`."""

    code = "INTERNAL"


class InferenceFailed(InternalError):
    """The inference server returned an error."""

    reason = "INFERENCE_FAILED"


class StorageFailed(InternalError):
    """The store could not read or write. Acknowledged writes are not lost."""

    reason = "STORAGE_FAILED"
