from __future__ import annotations

import logging

import pytest
from clipserve_gateway import errors
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process import logs
from clipserve_gateway.triton import models as models_module
from clipserve_gateway.triton.breaker import Breaker
from clipserve_gateway.triton.models import Models

from testing.fakes import FakeTriton, fake_models, no_one, towers


async def test_a_single_model_is_the_default():
    models = await fake_models()
    assert models.default == "fake"
    assert models.get("").name == models.get("fake").name == "fake"


async def test_of_several_models_one_must_be_named():
    models = await fake_models(FakeTriton(*towers(), *towers(model="other", fingerprint="0" * 64)))
    with pytest.raises(
        errors.InvalidInput, match=r"fake, other.* CLIPSERVE_DEFAULT_MODEL or --default-model"
    ):
        models.get("")
    assert models.get("other").fingerprint == "0" * 64


async def test_a_configured_default_answers_where_none_is_named():
    source = FakeTriton(*towers(), *towers(model="other", fingerprint="0" * 64))
    assert (await fake_models(source, default="other")).get("").name == "other"


async def test_an_unknown_model_is_not_found():
    with pytest.raises(errors.ModelNotFound, match="fake"):
        (await fake_models()).get("nope")


async def test_before_triton_has_answered_every_model_is_unavailable():
    source = FakeTriton()
    source.error = errors.ModelUnavailable("down")
    models = await fake_models(source)
    with pytest.raises(errors.ModelUnavailable):
        models.get("fake")
    assert not models.ready()


async def test_a_model_is_unavailable_while_triton_is_away_and_back_with_it():
    source = FakeTriton()
    models = await fake_models(source)
    source.error = errors.ModelUnavailable("down")
    await models.refresh()
    with pytest.raises(errors.ModelUnavailable):
        models.get("fake")
    source.error = None
    await models.refresh()
    assert models.get("fake").name == "fake"


async def test_a_model_with_one_tower_down_is_unavailable_and_others_serve_on():
    source = FakeTriton(*towers(), *towers(model="other", fingerprint="0" * 64))
    models = await fake_models(source)
    source.ready["other_text"] = False
    await models.refresh()
    with pytest.raises(errors.ModelUnavailable):
        models.get("other")
    assert models.get("fake").name == "fake"


async def test_a_model_with_a_bad_configuration_does_not_hide_the_others():
    models = await fake_models(FakeTriton(*towers(), *towers(model="bad", embed_dim="many")))
    assert [spec.name for spec, _ in models.all()] == ["fake"]


async def test_a_model_added_to_triton_appears_and_a_removed_one_goes():
    source = FakeTriton()
    metrics = Metrics()
    models = await fake_models(source, metrics=metrics)
    source.found |= {tower.triton_name: tower for tower in towers(model="new")}
    source.ready |= {"new_image": True, "new_text": True}
    await models.refresh()
    assert models.get("new").name == "new"
    for name in ("new_image", "new_text"):
        del source.ready[name]
    await models.refresh()
    with pytest.raises(errors.ModelNotFound):
        models.get("new")
    exported = [sample.labels["model"] for sample in metrics.model_ready.collect()[0].samples]
    assert exported == ["fake"]


def series(metrics: Metrics, model: str) -> int:
    """Series of a model."""
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return sum(sample.labels.get("model") == model for sample in samples)


async def test_the_metrics_of_a_removed_model_go_and_so_do_those_of_calls_that_end_later(monkeypatch):
    source, metrics = FakeTriton(*towers(), *towers(model="old")), Metrics()
    models = await fake_models(source, metrics=metrics)

    def call() -> None:
        metrics.requests.labels("Embed", "OK", "old").inc()
        metrics.request_seconds.labels("Embed", "old").observe(1)
        metrics.encode_rows.labels("image", "old").observe(1)
        metrics.canary_ok.labels("a:1", "old").set(1)

    call()
    for name in ("old_image", "old_text"):
        del source.ready[name]
    await models.refresh()
    assert series(metrics, "old") == 0
    call()
    await models.refresh()
    assert series(metrics, "old") == 0
    assert series(metrics, "fake") == 1
    monkeypatch.setattr(models_module, "LATE_SECONDS", -1.0)
    await models.refresh()
    assert models._removed == {}, "nothing is kept of it"
    assert "old" not in models._complaints


async def test_a_model_that_comes_back_is_no_removed_one():
    source, metrics = FakeTriton(*towers(), *towers(model="old")), Metrics()
    models = await fake_models(source, metrics=metrics)
    gone = {name: source.ready.pop(name) for name in ("old_image", "old_text")}
    await models.refresh()
    source.ready |= gone
    await models.refresh()
    metrics.requests.labels("Embed", "OK", "old").inc()
    await models.refresh()
    assert series(metrics, "old") == 3, "readiness, and a counter with the time of its creation"


async def test_models_that_were_never_served_are_told_as_not_ready_with_the_reason(monkeypatch):
    source = FakeTriton(*towers(), *towers(model="bad", embed_dim="many"), *towers(model="new"))
    source.ready["new_text"] = False
    monkeypatch.setattr(source, "why_unready", lambda name: f"the reason\x1b of {name}")
    metrics = Metrics()
    models = await fake_models(source, metrics=metrics)
    assert models.readiness() == {"fake": True, "bad": False, "new": False}
    assert models.status().splitlines() == [
        "bad not ready: the reason\\x1b of bad",
        "fake ready",
        "new not ready: the reason\\x1b of new",
    ]
    ready = {sample.labels["model"]: sample.value for sample in metrics.model_ready.collect()[0].samples}
    assert ready == models.readiness()


async def test_half_a_model_is_unknown_to_callers_and_told_to_operators():
    source = FakeTriton(*towers(), *towers(model="half"))
    del source.ready["half_text"]
    models = await fake_models(source)
    with pytest.raises(errors.ModelNotFound):
        models.get("half")
    assert models.readiness() == {"fake": True, "half": False}


async def test_a_model_that_triton_cannot_load_is_a_warning_with_the_reason(caplog, monkeypatch):
    source = FakeTriton(*towers(), *towers(model="new"))
    source.ready["new_text"] = False
    monkeypatch.setattr(source, "why_unready", lambda name: "Triton cannot load new_text: no memory")
    await fake_models(source)
    # Other tests may have left the level at INFO.
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["model new is not ready: Triton cannot load new_text: no memory"]


async def test_without_models_the_status_says_so():
    assert Models(FakeTriton(), default="", poll_seconds=1, metrics=Metrics(), on_change=no_one).status() == (
        "Triton lists no models"
    )


async def test_listeners_hear_of_changes_only():
    heard = []

    async def listen():
        heard.append(1)

    source = FakeTriton()
    models = await fake_models(source, on_change=listen)
    await models.refresh()
    assert len(heard) == 1
    source.ready["fake_text"] = False
    await models.refresh()
    assert len(heard) == 2


async def test_a_model_that_is_listed_and_not_ready_yet_is_unavailable_and_not_unknown():
    source = FakeTriton(*towers(), *towers(model="new"))
    source.ready["new_text"] = False
    models = await fake_models(source)
    with pytest.raises(errors.ModelLoading, match="'new' is not ready") as loading:
        models.get("new")
    assert loading.value.retry_after is not None, "callers are told when to come again"
    source.ready["new_text"] = True
    await models.refresh()
    assert models.get("new").name == "new"


async def test_a_model_whose_towers_name_different_versions_is_unavailable_at_a_fresh_start():
    image, text = towers(model_version="6")[0], towers(model_version="5")[1]
    source = FakeTriton(image, text)
    models = await fake_models(source)
    with pytest.raises(errors.ModelUnavailable):
        models.get("fake")
    source.found["fake_text"] = towers(model_version="6")[1]
    await models.refresh()
    assert models.get("fake").version == "6"


async def test_a_known_model_with_a_broken_configuration_stays_known():
    source = FakeTriton()
    models = await fake_models(source)
    source.found |= {it.triton_name: it for it in towers(embed_dim="many")}
    await models.refresh()
    with pytest.raises(errors.ModelUnavailable):
        models.get("fake")


async def test_the_only_model_is_the_default_while_it_is_loaded():
    source = FakeTriton()
    source.ready["fake_image"] = False
    models = await fake_models(source)
    with pytest.raises(errors.ModelLoading):
        models.get("")
    source.error = errors.ServerUnavailable("down")
    await models.refresh()
    with pytest.raises(errors.ModelUnavailable):
        models.get("")


def levels(caplog) -> list[int]:
    found = [record.levelno for record in caplog.records]
    caplog.clear()
    return found


async def test_a_triton_that_starts_is_no_warning_and_one_that_stays_away_is(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    source = FakeTriton()
    source.error = errors.ModelUnavailable("down")
    models = await fake_models(source)
    await models.refresh()
    assert levels(caplog) == [logging.INFO]
    monkeypatch.setattr(logs, "STARTING_SECONDS", 0.0)
    await models.refresh()
    await models.refresh()
    assert levels(caplog) == [logging.WARNING]


async def test_a_model_that_loads_is_no_warning_and_one_that_goes_is(caplog):
    caplog.set_level(logging.INFO)
    source = FakeTriton()
    source.ready["fake_text"] = False
    models = await fake_models(source)
    assert levels(caplog) == [logging.INFO]
    source.ready["fake_text"] = True
    await models.refresh()
    caplog.clear()
    source.ready["fake_text"] = False
    await models.refresh()
    assert logging.WARNING in levels(caplog)


async def test_a_replica_that_starts_is_no_warning_and_one_that_goes_is(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    breaker = Breaker("a:1", Metrics(), lambda: None)
    breaker.go_down("no answer")
    breaker.go_down("no answer")
    assert levels(caplog) == [logging.INFO]
    breaker.come_up()
    breaker.complain("")
    assert levels(caplog) == [logging.INFO]
    breaker.go_down("no answer")
    breaker.go_down("no answer")
    assert levels(caplog) == [logging.WARNING]
    monkeypatch.setattr(logs, "STARTING_SECONDS", 0.0)
    never = Breaker("b:1", Metrics(), lambda: None)
    never.go_down("no answer")
    assert levels(caplog) == [logging.WARNING]
