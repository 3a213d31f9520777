"""What became of calls: one record for each, as a load process wrote them down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

RECORD = np.dtype(
    [
        ("flow", "i4"),
        ("number", "i8"),  # Of the call in its flow, from 0.
        ("due", "f8"),  # When it should have begun, on the monotonic clock of this machine.
        ("begin", "f8"),
        ("end", "f8"),
        ("code", "U20"),  # The call's status; of a call that is OK with a failed item, the item's.
        (
            "reason",
            "U32",
        ),  # ErrorInfo.reason, empty where gRPC itself failed the call; of OK by the SDK, the fingerprint.
        ("digest", "i8"),  # CRC-32 of the first embedding's bytes; 0 if there is none.
    ]
)


@dataclass(frozen=True)
class Calls:
    """Some calls. Moments are on the monotonic clock, which all processes of this machine share."""

    flows: tuple[str, ...]
    records: npt.NDArray[np.void]

    @classmethod
    def read(cls, path: Path) -> Calls:
        """What a load process left."""
        with np.load(path, allow_pickle=False) as found:
            return cls(tuple(map(str, found["flows"])), found["records"])

    def write(self, path: Path) -> None:
        """Leaves them in a file."""
        np.savez(path, flows=np.array(self.flows), records=self.records)

    def __len__(self) -> int:
        return len(self.records)

    def where(self, chosen: npt.NDArray[np.bool_]) -> Calls:
        """Those that are chosen."""
        return Calls(self.flows, self.records[chosen])

    def of(self, *flows: str) -> Calls:
        """Those of the flows named."""
        return self.where(np.isin(self.records["flow"], [self.flows.index(flow) for flow in flows]))

    def begun(self, after: float = -np.inf, before: float = np.inf) -> Calls:
        """Those that began in between."""
        return self.where((self.records["begin"] >= after) & (self.records["begin"] < before))

    def ended(self, after: float = -np.inf, before: float = np.inf) -> Calls:
        """Those that ended in between."""
        return self.where((self.records["end"] >= after) & (self.records["end"] < before))

    def coded(self, *codes: str) -> Calls:
        """Those with one of the codes."""
        return self.where(np.isin(self.records["code"], codes))

    @property
    def failed(self) -> Calls:
        """Those that are not OK."""
        return self.where(self.records["code"] != "OK")

    @property
    def ok(self) -> Calls:
        """Those that are."""
        return self.coded("OK")

    @property
    def codes(self) -> Counter[str]:
        """How many had which code."""
        return Counter(map(str, self.records["code"]))

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """How long each took."""
        return self.records["end"] - self.records["begin"]

    @property
    def lateness(self) -> npt.NDArray[np.float64]:
        """By how much each began late: what the load process itself is to blame for."""
        return self.records["begin"] - self.records["due"]

    def quantile(self, share: float) -> float:
        """The time that this share of the calls took at most; NaN if there are none."""
        return float(np.quantile(self.seconds, share)) if len(self) else np.nan

    def digests(self) -> set[int]:
        """Of the embeddings that came back."""
        return set(map(int, self.records["digest"])) - {0}

    def last_failure_after(self, moment: float) -> float:
        """Seconds from a moment to the begin of the last call since then that failed; 0 if none did."""
        failed = self.begun(after=moment).failed
        return float(failed.records["begin"].max() - moment) if len(failed) else 0.0
