"""`up` while its model is exported again."""

from __future__ import annotations

from pathlib import Path

import clipserve
import pytest

from faults.delay_model import DelayModel, facts_of, right_texts
from faults.watch import wait_until
from testing.service import start

TEXTS = ["a dog", "a cat"]
SWAP_SECONDS = 60.0
REMOVED_SECONDS = 90.0


def versions(model: DelayModel) -> set[str]:
    return {path.name for path in (model.repository / "delay_text").iterdir() if path.is_dir()}


@pytest.mark.slow
def test_the_new_version_takes_over_and_the_old_one_leaves_the_repository(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    model = DelayModel(tmp_path / "made")
    first = versions(model)
    service = start(tmp_path, repository=model.repository)
    with clipserve.Client(service.address) as client:
        assert client.embed_texts(TEXTS).embeddings.tobytes() == right_texts(TEXTS, 0).tobytes()
        fingerprint = model.export(1)
        assert fingerprint == facts_of("delay", 1).fingerprint
        assert versions(model) > first

        def answered() -> str:
            result = client.embed_texts(TEXTS)
            assert result.model is not None
            seed = int(result.model.fingerprint == fingerprint)
            assert result.embeddings.tobytes() == right_texts(TEXTS, seed).tobytes()
            return result.model.fingerprint

        assert wait_until(lambda: answered() == fingerprint, SWAP_SECONDS) < SWAP_SECONDS
        new = versions(model) - first
        assert len(new) == 1
        gone = wait_until(lambda: answered() == fingerprint and versions(model) == new, REMOVED_SECONDS)
        assert gone < REMOVED_SECONDS
    assert service.stop() == 0
    assert "started again" not in service.words, "the old Triton served all the while"
