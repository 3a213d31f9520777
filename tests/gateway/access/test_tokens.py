from __future__ import annotations

import datetime as dt
import hashlib
import hmac

import pytest
from clipserve_gateway.access import tokens
from clipserve_gateway.access.methods import RPCS, methods_of
from clipserve_gateway.access.rate import Rate
from clipserve_gateway.access.tokens import BadTokenFile, digest_of, line_of, new_token, read_token_file

SECRET = "s3cret-Token_of~the/web+shop=="
HASH = hashlib.sha256(SECRET.encode()).hexdigest()


def read(tmp_path, text: str) -> tokens.TokenTable:
    path = tmp_path / "tokens"
    path.write_text(text)
    return read_token_file(str(path))


def test_a_name_and_a_token_are_enough(tmp_path):
    grant = read(tmp_path, f"web {SECRET}\n").find(digest_of(SECRET))
    assert grant is not None
    assert (grant.name, grant.methods, grant.sees_all) == ("web", frozenset(RPCS), True)
    assert (grant.rate, grant.expires) == (None, None)
    assert grant.sees_label_set("any.set")
    assert grant.sees_model("any-model")


def test_a_hash_stands_for_the_token_and_does_not_open_the_door_itself(tmp_path):
    table = read(tmp_path, f"web sha256:{HASH.upper()}")
    assert table.find(digest_of(SECRET)) is not None
    assert table.find(digest_of(HASH)) is None
    assert table.find(digest_of(f"sha256:{HASH}")) is None


def test_all_options_are_read(tmp_path):
    line = f"web {SECRET} methods=read,UpsertPoints collections=shop_*,my-*,pets labels=shop.*,b-1 "
    line += "models=ViT-B-32* rate=2.5 burst=64 "
    grant = read(tmp_path, line + "expires=2100-01-31T12:00:00+02:00").find(digest_of(SECRET))
    assert grant.methods == methods_of("read") | {"UpsertPoints"}
    assert grant.collections == ("shop_*", "my-*", "pets")
    assert grant.labels == ("shop.*", "b-1")
    assert grant.models == ("ViT-B-32*",)
    assert grant.rate == Rate(2.5, 64)
    assert grant.expires == dt.datetime(2100, 1, 31, 10, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(("option", "burst"), [("rate=100", 100), ("rate=0.1", 1)])
def test_a_rate_alone_has_a_seconds_burst(tmp_path, option, burst):
    assert read(tmp_path, f"web {SECRET} {option}").find(digest_of(SECRET)).rate.burst == burst


def test_a_date_is_its_first_moment_in_utc(tmp_path):
    grant = read(tmp_path, f"web {SECRET} expires=2100-02-01").find(digest_of(SECRET))
    assert grant.expires == dt.datetime(2100, 2, 1, tzinfo=dt.timezone.utc)


def test_comments_empty_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    table = read(tmp_path, f"\ufeff# who calls\n\n   # indented\r\nweb\t{SECRET}\r\n")
    assert len(table.entries) == 1


def test_a_name_may_have_two_tokens(tmp_path):
    table = read(tmp_path, f"web {SECRET}\nweb 2{SECRET}\n")
    assert {table.find(digest_of(it)).name for it in (SECRET, "2" + SECRET)} == {"web"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("web", "line 2: write a name and a token"),
        (SECRET, "line 2: write a name and a token on it"),
        ("web short", "line 2: the token"),
        (f'web "{SECRET}"', "line 2: the token"),
        (f"web naïve-{SECRET}", "line 2: the token"),
        ("web sha256:abc", "line 2: sha256: (word 2)"),
        (f"we:b {SECRET}", "line 2: the name"),
        (f"{SECRET} web", "line 2: the name"),
        (f"web Bearer-is-a-word-too {SECRET}", "line 2: word 3"),
        (f"web {SECRET} {SECRET}=", "line 2: word 3"),
        (f"web {SECRET} colections=a", "line 2: word 3"),
        (f"web {SECRET} rate=1 methods=", "line 2: word 4"),
        (f"web {SECRET} rate=1 rate=2", "line 2: rate= appears twice"),
        (f"web {SECRET} methods=Serach", "line 2: methods: Serach is unknown"),
        (f"web {SECRET} collections=a/b", "line 2: collections: 'a/b' is not a pattern"),
        (f"web {SECRET} labels=a/b", "line 2: labels: 'a/b'"),
        (f"web {SECRET} models=[a]", "line 2: models: '[a]'"),
        (f"web {SECRET} models=a,,b", "line 2: models: ''"),
        (f"web {SECRET} rate=fast", "line 2: rate: fast is not a number"),
        (f"web {SECRET} rate=0", "line 2: rate: 0 is not a number"),
        (f"web {SECRET} rate=nan", "line 2: rate: nan is not a number"),
        (f"web {SECRET} burst=5", "line 2: burst= needs rate="),
        (f"web {SECRET} expires=tomorrow", "line 2: expires: tomorrow"),
        (f"web {SECRET}\nother {SECRET}", "line 3: the token of 'web' appears twice"),
        (f"web {SECRET}\nother sha256:{HASH}", "line 3: the token of 'web' appears twice"),
        ("# nobody", "holds no token"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_no_secret_is(tmp_path, line, words):
    with pytest.raises(BadTokenFile) as raised:
        read(tmp_path, "# tokens\n" + line)
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)
    assert HASH not in str(raised.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "tokens"
    path.write_bytes(b"web \xff\xfe")
    with pytest.raises(BadTokenFile, match="UTF-8"):
        read_token_file(str(path))


def test_every_entry_is_compared_in_constant_time_wherever_the_token_stands(tmp_path, monkeypatch):
    table = read(tmp_path, "".join(f"n{i} {i}{SECRET}\n" for i in range(20)))
    compared = []

    def compare(known: bytes, given: bytes) -> bool:
        compared.append((len(known), len(given)))
        return known == given

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token in (f"0{SECRET}", f"19{SECRET}", "unknown"):
        compared.clear()
        table.find(digest_of(token))
        assert compared == [(32, 32)] * 20


def test_made_tokens_differ_and_are_accepted(tmp_path):
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(token) >= 52 and tokens.TOKEN.fullmatch(token) for token in made)
    table = read(tmp_path, "\n".join(f"n{i} {token}" for i, token in enumerate(made)))
    assert all(table.find(digest_of(token)) for token in made)


def test_a_made_line_holds_no_secret_and_is_read_back(tmp_path):
    line = line_of("web", SECRET, ("methods=read", "rate=5"))
    assert SECRET not in line
    grant = read(tmp_path, line).find(digest_of(SECRET))
    assert (grant.name, grant.methods, grant.rate) == ("web", methods_of("read"), Rate(5, 5))
    with pytest.raises(BadTokenFile):
        line_of("web", SECRET, ("methods=none",))
