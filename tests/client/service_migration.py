"""Cases of migrations; skipped if the server has only one model. See service_cases.py."""

from __future__ import annotations

import clipserve
import pytest
from client.pictures import png
from client.service_support import (
    another_model,
    fill,
    until_migrated,
)
from clipserve import Point


class MigrationCases:
    """Cases for a server at `address`."""

    def test_collections_move_to_another_model_and_back(self, service, new_collection):
        target = another_model(service)
        made = new_collection(keep_sources=True)
        name = made.name
        fill(service, name, 4)
        started = service.start_migration(name, target).migration
        assert (started.source, started.target.name, started.total) == (made.model, target, 4)
        with pytest.raises(clipserve.MigrationConflict):
            service.start_migration(name, target)
        ready = until_migrated(service, name)
        assert (ready.failed, ready.failures) == (0, ())
        assert ready.overlap.queries > 0
        assert service.search(name, image=png(3))[0].id == "p3"
        service.upsert(name, [Point("late", image=png(9))])
        switched = service.switch_migration(name)
        assert (switched.model.name, switched.migration.state) == (target, "switched")
        assert switched.model.fingerprint != made.model.fingerprint
        hits = service.search(name, image=png(9))
        assert (hits.model.name, hits[0].id, len(hits)) == (target, "late", 5)
        back = service.roll_back_migration(name)
        assert (back.model, back.migration.state) == (made.model, "ready")
        service.switch_migration(name)
        ended = service.end_migration(name)
        assert (ended.model.name, ended.migration) == (target, None)
        assert service.search(name, image=png(2))[0].id == "p2"

    def test_points_without_sources_keep_a_migration_from_switching(self, service, new_collection):
        target = another_model(service)
        made = new_collection(keep_sources=True)
        embedding = service.embed_texts(["x"]).embeddings[0]
        service.upsert(made.name, [Point("good", image=png(1)), Point("bare", embedding=embedding)])
        service.start_migration(made.name, target)
        ready = until_migrated(service, made.name)
        assert ready.failed == 1
        assert [failure.id for failure in ready.failures] == ["bare"]
        assert ready.failures[0].message
        with pytest.raises(clipserve.MigrationConflict):
            service.switch_migration(made.name)
        service.switch_migration(made.name, without_failed=True)
        assert [point.id for point in service.scroll(made.name)] == ["good"]
        service.roll_back_migration(made.name)
        assert service.count(made.name) == 2
        assert service.end_migration(made.name).model == made.model

    def test_collections_without_sources_do_not_move(self, service, new_collection):
        target = another_model(service)
        made = new_collection()
        fill(service, made.name, 2)
        with pytest.raises(clipserve.SourcesNotKept):
            service.start_migration(made.name, target)
        with pytest.raises(clipserve.ModelNotFound):
            service.start_migration(made.name, "no-such-model")
        with pytest.raises(clipserve.MigrationConflict):
            service.start_migration(made.name, made.model.name)
        for change in (service.switch_migration, service.roll_back_migration, service.end_migration):
            with pytest.raises(clipserve.MigrationConflict):
                change(made.name)
