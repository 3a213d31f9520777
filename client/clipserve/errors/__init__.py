"""The exceptions and warnings of this package.

Each exception has the server's code, reason, field, violations and metadata. `except InvalidArgument` catches
every error of a request's content; `except ImageUnreadable` catches only that one.
"""

from clipserve.errors.base import *  # noqa: F403
from clipserve.errors.request import *  # noqa: F403
from clipserve.errors.server import *  # noqa: F403
