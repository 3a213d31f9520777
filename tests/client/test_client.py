from __future__ import annotations

import threading
import time

import clipserve
import numpy as np
import pytest
from client.conftest import FAST
from client.fake_server import FakeServer, Refused
from client.pictures import png
from clipserve import Client, Point, RetryPolicy, Tls

GONE = Refused("UNAVAILABLE", "", "gone", details=False)
NO_MODEL = Refused("UNAVAILABLE", "MODEL_UNAVAILABLE", "no model now")
BUSY = Refused("RESOURCE_EXHAUSTED", "OVERLOADED", "busy", retry_after=0.3, pushback_ms=300)
TOO_LARGE = Refused("RESOURCE_EXHAUSTED", "", "message too large", details=False)


def test_long_lists_are_cut_by_the_servers_limits(server, client):
    result = client.embed_texts([f"text {i}" for i in range(50)])
    assert len(result) == 50
    assert sorted(call.items for call in server.seen("Embed")) == [2, 16, 16, 16]
    expected = client.embed_texts(["text 49"]).embeddings[0]
    np.testing.assert_array_equal(result.embeddings[49], expected)


def test_a_server_that_does_not_know_dimensions_is_noticed(server, client):
    server.state.truncates = False
    with pytest.raises(clipserve.Unimplemented, match="gives 16 dimensions instead of 8; it is older"):
        client.embed_texts(["x"], dimensions=8, allow_truncation=True)
    assert client.embed_texts(["x"]).dimensions == 16


@pytest.mark.parametrize("arguments", [{"format": "int4"}, {"format": "INT8"}, {"dimensions": 0}])
def test_forms_that_are_none_are_refused_before_anything_is_sent(server, client, arguments):
    with pytest.raises(ValueError, match=r"format is|dimensions is"):
        client.embed_texts(["x"], **arguments)
    assert not server.seen("Embed")


def test_the_limits_are_asked_for_once(server, client):
    for _ in range(3):
        client.embed_texts(["x"])
    assert len(server.seen("GetServerInfo")) == 1


def test_requests_are_cut_by_bytes_too(make_server):
    server = make_server(max_message_bytes=1024 * 1024, max_items_per_call=100)
    with Client(server.address) as client:
        array = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)  # 270 kB
        result = client.embed_images([array] * 7)
    assert len(result) == 7
    assert sorted(call.items for call in server.seen("Embed")) == [1, 3, 3]


def test_what_fits_into_no_message_fails_alone(make_server):
    server = make_server(max_message_bytes=1024 * 1024, max_image_bytes=100_000)
    with Client(server.address) as client:
        huge = np.zeros((700, 700, 3), np.uint8)
        result = client.embed_images([png(1), huge, b"x" * 100_001, png(2)], on_error="return")
    assert isinstance(result.errors[1], clipserve.LimitExceeded)
    assert result.errors[1].field == "images[1]"
    assert isinstance(result.errors[2], clipserve.ImageTooLarge)
    assert result.errors[2].field == "images[2].content"
    assert list(result.errors) == [1, 2]


def test_wide_answers_do_not_overflow_a_message(make_server):
    server = make_server(max_message_bytes=1024 * 1024, max_items_per_call=256)
    labels = [f"a label that is rather long {i:04d}" for i in range(1000)]
    with Client(server.address) as client:
        result = client.classify([png(i, 4, 4) for i in range(20)], labels, top_k=1000)
    assert [len(item.scores) for item in result] == [1000] * 20
    assert len(server.seen("Classify")) > 1


def test_unreadable_files_fail_alone(client, tmp_path):
    missing = tmp_path / "missing.png"
    result = client.embed_images([png(1), missing], on_error="return")
    assert isinstance(result.errors[1], clipserve.ImageUnreadable)
    assert result.errors[1].field == "images[1]"
    assert isinstance(result.errors[1].__cause__, FileNotFoundError)


def test_if_all_items_fail_at_home_nothing_is_sent(server, client, tmp_path):
    result = client.embed_images([tmp_path / "a", tmp_path / "b"], on_error="return")
    assert result.embeddings.shape == (2, 16)
    assert np.isnan(result.embeddings).all()
    assert result.model is None
    assert not server.seen("Embed")


def test_wrong_types_name_the_item(client):
    with pytest.raises(TypeError, match=r"images\[1\]: an image is bytes"):
        client.embed_images([png(1), 5])
    with pytest.raises(ValueError, match=r"images\[0\]: an image array must be uint8"):
        client.embed_images(np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(TypeError, match=r"texts\[0\]: a text is a str"):
        client.embed_texts([b"x"])
    with pytest.raises(TypeError, match="not a single str"):
        client.embed_texts("x")
    with pytest.raises(TypeError, match="not a single bytes"):
        client.classify(png(1), ["a"])
    with pytest.raises(ValueError, match="mode is 'softmax' or 'independent'"):
        client.classify([png(1)], ["a"], mode="both")
    with pytest.raises(ValueError, match="on_error is"):
        client.embed_texts(["x"], on_error="ignore")
    with pytest.raises(TypeError, match="exactly one of text, image, embedding, like and weighted"):
        client.search("abc", text="x", image=png(1))
    with pytest.raises(ValueError, match=r"points\[0\]: a point needs exactly one"):
        client.upsert("abc", [Point("a")])
    with pytest.raises(TypeError, match=r"points\[0\]: a point is a clipserve.Point"):
        client.upsert("abc", ["a"])


def test_a_result_says_how_its_labels_are_scored(client, server):
    def scored(mode=None):
        result = client.classify([png(1)], ["cat", "dog"], mode=mode)
        return result.mode, result.score, result.logit_bias

    assert scored() == ("softmax", "softmax", None)
    assert scored("independent") == ("independent", "cosine", None)
    server.state.logit_bias = -2.5
    assert scored() == ("independent", "sigmoid", -2.5)
    assert scored("softmax") == ("softmax", "softmax", -2.5)


def test_labels_are_given_or_named(client):
    with pytest.raises(TypeError, match="exactly one of labels and label_set"):
        client.classify([png(1)])
    with pytest.raises(TypeError, match="exactly one of labels and label_set"):
        client.classify([png(1)], ["cat"], label_set="pets")
    with pytest.raises(TypeError, match="its own templates and thresholds"):
        client.classify([png(1)], label_set="pets", templates=["{}"])
    with pytest.raises(TypeError, match="its own templates and thresholds"):
        client.prepare_labels(label_set="pets", templates=["{}"])
    with pytest.raises(ValueError, match="pets@3"):
        client.classify([png(1)], label_set="pets@x")


def test_a_label_set_that_changes_under_way_is_noticed(server):
    with Client(server.address, batch_size=1, in_flight=1) as client:
        client.put_label_set("pets", ["cat", "dog"])

        def pictures():
            yield from (png(i) for i in range(4))
            client.put_label_set("pets", ["dog", "cat"])
            yield from (png(i) for i in range(4))

        with pytest.raises(clipserve.Conflict, match="pets@1 became pets@2"):
            client.classify(pictures(), label_set="pets")
        assert len(client.classify([png(1)] * 3, label_set="pets")) == 3


def test_several_requests_are_in_flight_but_not_more_than_allowed(server):
    with Client(server.address, batch_size=1, in_flight=3) as client:
        client.info()
        server.script("Embed", *[0.05] * 9)
        client.embed_texts([f"{i}" for i in range(9)])
    assert 2 <= server.state.most_in_flight <= 3


def test_the_first_sign_of_progress_is_that_of_one_item(server, client):
    seen = []
    client.embed_texts([f"{i}" for i in range(50)], progress=seen.append)
    assert (seen[0], seen[-1]) == (1, 50)
    sizes = [call.items for call in server.seen("Embed")]
    assert (sizes[0], sum(sizes)) == (1, 50)


def test_a_failed_request_cancels_the_others(server, client):
    client.info()
    server.script("Embed", Refused("INTERNAL", "INFERENCE_FAILED", "no"), 5.0, 5.0, 5.0)
    start = time.perf_counter()
    with pytest.raises(clipserve.InferenceFailed):
        client.embed_texts([f"{i}" for i in range(200)])
    assert time.perf_counter() - start < 3
    assert len(server.seen("Embed")) <= 5


def test_an_unreachable_server_is_said_so():
    with (
        Client("127.0.0.1:1", timeout=5, retry=FAST) as client,
        pytest.raises(clipserve.Unavailable, match=r"cannot reach a server at 127.0.0.1:1: ") as caught,
    ):
        client.info()
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.reason == ""


@pytest.mark.parametrize("failure", [GONE, NO_MODEL])
def test_unavailable_is_tried_again(server, client, failure):
    server.script("Embed", failure, failure)
    assert len(client.embed_texts(["x"])) == 1
    assert len(server.seen("Embed")) == 3


def test_attempts_end(server, client):
    server.script("Embed", *[NO_MODEL] * 9)
    with pytest.raises(clipserve.ModelUnavailable):
        client.embed_texts(["x"])
    assert len(server.seen("Embed")) == 4


def test_retries_can_be_turned_off(server):
    with Client(server.address, retry=None) as client:
        client.info()
        server.script("Embed", GONE)
        with pytest.raises(clipserve.Unavailable):
            client.embed_texts(["x"])
    assert len(server.seen("Embed")) == 1


def test_a_busy_servers_delay_is_kept(server, client):
    client.info()
    server.script("Embed", BUSY)
    start = time.perf_counter()
    client.embed_texts(["x"])
    assert time.perf_counter() - start >= 0.3


def test_a_busy_servers_delay_beyond_the_timeout_fails_at_once(server, client):
    client.info()
    server.script("Embed", BUSY)
    with pytest.raises(clipserve.Overloaded) as caught:
        client.embed_texts(["x"], timeout=0.25)
    assert len(server.seen("Embed")) == 1
    assert caught.value.retry_after == 0.3


def test_exhausted_without_a_delay_is_not_tried_again(server, client):
    client.info()
    server.script("Embed", TOO_LARGE)
    with pytest.raises(clipserve.ResourceExhausted):
        client.embed_texts(["x"])
    assert len(server.seen("Embed")) == 1


def test_a_message_above_the_servers_limit_is_not_tried_again(make_server):
    server = make_server(max_message_bytes=1024 * 1024)
    with Client(server.address) as client:
        made = client.create_collection("large")
        with pytest.raises(clipserve.ResourceExhausted):
            client.search(made.name, text="x" * 2_000_000)
    assert not server.seen("Search")


def test_invalid_requests_are_not_tried_again(server, client):
    with pytest.raises(clipserve.InvalidInput):
        client.classify([png(1)], [])
    assert len(server.seen("Classify")) == 1


def test_creating_is_tried_again_only_if_the_server_refused(server, client):
    server.script("CreateCollection", NO_MODEL)
    assert client.create_collection("made").name == "made"
    server.script("CreateCollection", GONE)
    with pytest.raises(clipserve.Unavailable):
        client.create_collection("other")
    assert len(server.seen("CreateCollection")) == 3


def test_time_is_limited_over_all_attempts(server, client):
    client.info()
    server.script("Embed", BUSY, 5.0)
    start = time.perf_counter()
    with pytest.raises(clipserve.DeadlineExceeded, match=r"no answer from 127.0.0.1:\d+ within 1 s"):
        client.embed_texts(["x"], timeout=1)
    assert time.perf_counter() - start < 2
    _, second = server.seen("Embed")
    assert second.seconds_left < 0.8


def test_large_requests_get_more_time_unless_told_otherwise(server):
    with Client(server.address) as patient, Client(server.address, timeout=7) as strict:
        patient.classify([png(1)], [f"{i}" for i in range(1000)], templates=["{}", "a {}"])
        patient.embed_texts(["x"])
        strict.classify([png(1)], ["a"])
        strict.embed_texts(["x"], timeout=3)
    long, short = server.seen("Classify")
    assert 79 < long.seconds_left < 82
    assert 6 < short.seconds_left < 8
    assert 59 < server.seen("Embed")[0].seconds_left < 62
    assert 2 < server.seen("Embed")[1].seconds_left < 4


def test_calls_go_on_when_the_server_comes_back(server):
    with Client(server.address, timeout=10, retry=RetryPolicy(attempts=10, initial_backoff=0.1)) as client:
        client.embed_texts(["x"])
        server.stop()
        threading.Timer(0.3, server.start).start()
        assert len(client.embed_texts(["x"])) == 1


def test_the_token_goes_with_every_call(server):
    tokens = iter(["one", "two", "three"])
    with Client(server.address, token=lambda: next(tokens)) as client:
        client.embed_texts(["x"])
        client.info()
    sent = [call.metadata.get("authorization") for call in server.state.calls]
    assert sent == ["Bearer one", "Bearer two", "Bearer three"]


def test_jobs_say_that_they_are_jobs(server):
    for priority in ("interactive", "bulk"):
        with Client(server.address, priority=priority, token="t") as client:
            client.info()
    sent = [call.metadata.get("x-clipserve-priority") for call in server.state.calls]
    assert sent == [None, "bulk"]
    assert all(call.metadata["authorization"] == "Bearer t" for call in server.state.calls)


def test_a_rate_that_is_used_up_is_waited_for_as_long_as_the_timeout_allows(server):
    refused = Refused("RESOURCE_EXHAUSTED", "RATE_LIMITED", "5 items a second", retry_after=0.01)
    server.script("Embed", *[refused] * 20)
    with Client(server.address, timeout=10, retry=RetryPolicy(attempts=2, budget=2)) as client:
        assert len(client.embed_texts(["x"])) == 1
        server.script("Embed", Refused("RESOURCE_EXHAUSTED", "RATE_LIMITED", "slow", retry_after=11))
        with pytest.raises(clipserve.RateLimited) as caught:
            client.embed_texts(["x"])
    assert caught.value.retry_after == 11


def test_limits_that_have_changed_are_asked_for_again(server, client):
    client.embed_texts(["x"] * 16)
    server.state.limits.max_items_per_call = 4
    with pytest.raises(clipserve.LimitExceeded) as caught:
        client.embed_texts(["x"] * 16)
    assert caught.value.field == "inputs"
    assert len(client.embed_texts(["x"] * 16)) == 16


def test_a_model_that_changes_under_way_is_noticed(server):
    with Client(server.address, batch_size=1, in_flight=1) as client:
        client.info()

        def texts():
            yield from "abcdef"
            server.state.model = type(server.state.model)(name="fake", fingerprint="1" * 64, embed_dim=16)
            yield from "ghi"

        with pytest.raises(clipserve.FingerprintMismatch, match="changed during the call"):
            client.embed_texts(texts())


def test_lists_are_read_page_by_page(server, client):
    for name in ("one", "two", "three", "four", "five"):
        client.create_collection(name)
    assert [c.name for c in client.list_collections()] == ["five", "four", "one", "three", "two"]
    assert len(server.seen("ListCollections")) == 3


def test_ids_given_twice_fail_wherever_they_are(client):
    client.create_collection("twice")
    points = [Point(f"p{i % 20}", text=f"{i}") for i in range(40)]
    result = client.upsert("twice", points, on_error="return")
    assert result.written == 20
    assert list(result.errors) == list(range(20, 40))
    assert result.errors[21].field == "points[21].id"
    assert "points[1]" in result.errors[21].message


def test_many_ids_are_deleted_and_got_in_parts(client):
    client.create_collection("many")
    client.upsert("many", [Point(f"p{i}", text=f"{i}") for i in range(40)])
    assert len(client.get_points("many", [f"p{i}" for i in range(40)])) == 40
    with pytest.raises(TypeError, match="not a single str"):
        client.delete_points("many", "p1")
    assert client.delete_points("many", [f"p{i}" for i in range(60)]) == 40


def test_one_client_serves_many_threads(client):
    results: list[int] = []

    def work(i: int) -> None:
        results.append(len(client.embed_texts([f"{i} {j}" for j in range(20)])))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [20] * 8


@pytest.mark.parametrize(
    "kwargs", [{"batch_size": 0}, {"in_flight": 0}, {"timeout": 0}, {"timeout": -1}, {"priority": "urgent"}]
)
def test_settings_that_cannot_be_are_refused(kwargs):
    with pytest.raises(ValueError, match="must be"):
        Client(**kwargs)


def test_tls_is_spoken_and_the_server_verified(tls_server, authority):
    with Client(tls_server.address, tls=Tls(ca=authority.certificate), token="t") as client:
        assert len(client.embed_texts(["x"])) == 1
    with (
        Client(tls_server.address, tls=True, timeout=5, retry=None) as distrustful,
        pytest.raises(clipserve.Unavailable),
    ):
        distrustful.info()


def test_an_unknown_service_is_said_so(server: FakeServer, client: Client):
    server.script("Embed", Refused("UNIMPLEMENTED", "", "Method not found!", details=False))
    with pytest.raises(clipserve.Unimplemented, match="does not know this call"):
        client.embed_texts(["x"])


def test_a_large_message_tells_its_size_and_a_small_one_does_not(make_server):
    server = make_server(max_message_bytes=8 << 20, max_text_bytes=4 << 20)
    with Client(server.address) as client:
        client.embed_texts(["a dog"])
        client.embed_texts(["x" * (3 << 20)])
    small, large = (call.metadata.get("x-clipserve-bytes") for call in server.seen("Embed"))
    assert small is None
    assert (3 << 20) < int(large) < (3 << 20) + 100


def test_a_closed_client_says_so(server):
    client = Client(server.address)
    client.embed_texts(["x"])
    client.close()
    for use in (
        client.info,
        lambda: client.embed_texts(["x"] * 50),
        lambda: list(client.embed_stream([["x"]], kind="texts")),
    ):
        with pytest.raises(clipserve.ClientNotUsable, match="the client is closed; make a new one") as raised:
            use()
        assert raised.value.reason == "CLIENT_CLOSED"


def test_calls_that_are_under_way_when_the_client_is_closed_say_so(server):
    server.script("Embed", 2.0)
    client = Client(server.address, retry=FAST)
    client.info()
    threading.Timer(0.2, client.close).start()
    with pytest.raises(clipserve.Cancelled, match="the client was closed before the answer arrived"):
        client.embed_texts(["x"])
