"""No secret is ever on file, and what cannot be cleaned is not stored."""

# What a block complains of at its end is raised around all of it.
# ruff: noqa: PT012, SIM117

import json
import re

import pytest

from waybell_adapters import AdapterError, Reply, ReplyStream, ScriptedAdapter, ToolCall
from waybell_snap import Recording, Replay
from waybell_snap._redact import HIDDEN, Redactor
from waybell_snap._values import decode, encode
from waybell_tools import ToolRegistry


SECRETS = [
    "sk-abcdefghij1234567890",
    "sk-ant-api03-abcDEF_123-xyz",
    "ghp_0123456789abcdefghij",
    "github_pat_11ABCDEFG0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijklmnopqrstuvw",
    "xoxb-123456789012-abcdefghij",
    "gsk_abcdefghij1234567890",
    "xai-abcdefghij1234567890",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_DEF-123",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
]
PHRASES = [
    ("Authorization: Bearer {}", "abc123def456ghi789"),
    ("Authorization: Basic {}", "dXNlcjpwYXNzd29yZA=="),
    ("https://{}@example.org/x", "user:hunter2"),
    ("api_key={}", "hunter2hunter2"),
    ("OPENAI_API_KEY = '{}'", "correct-horse"),
    ('{{"password": "{}"}}', "correct horse"),
    ('{{\\"client_secret\\": \\"{}\\"}}', "correcthorse"),
    ("my password: {}", "hunter22"),
    ("access_token={}&x=1", "abcdefgh"),
    ('{{"password": "{}"}}', r"horse, \" staple"),
    ('{{"accessToken": "{}"}}', "abc"),
    ("redis://{}@example.org/0", ":hunter2"),
    ("https://example.org/?X-Amz-Signature={}&x=1", "abcdef123456"),
    ("Authorization: Token {}", "9944b09199c62bcf"),
    ("Cookie: {}", "a=bcdefgh; other=def456789"),
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_known_by_their_looks(secret):
    clean = Redactor(environ={})
    assert clean(f"use {secret} now") == f"use {HIDDEN} now"


@pytest.mark.parametrize(("phrase", "secret"), PHRASES)
def test_secrets_are_known_by_what_stands_before_them(phrase, secret):
    told = Redactor(environ={})(phrase.format(secret))
    assert not any(part in told for part in secret.split())
    assert HIDDEN in told
    assert Redactor(environ={})(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=100, input_tokens: 25",
        "The token: a piece of a word. Its secret: practice.",
        "see https://example.org/a@b and task-runner sketch-book",
        "skeleton key, desk-lamp, risk_of_rain",
        "12:30: bells; authorization: see below",
    ],
)
def test_plain_prose_stays(text):
    assert Redactor(environ={})(text) == text


def test_secrets_are_known_by_the_names_of_keys():
    given = {
        "Authorization": "x", "x-api-key": ["y"], "apiKey": {"z": 1}, "db_password": 5, "token": "",
        "max_tokens": 5, "tokens": ["a"], "keys": "k", "nested": [{"client_secret": "s"}], "secret": True,
    }  # fmt: skip
    assert Redactor(environ={})(given) == {
        "Authorization": HIDDEN, "x-api-key": HIDDEN, "apiKey": HIDDEN, "db_password": HIDDEN,
        "token": "", "max_tokens": 5, "tokens": ["a"], "keys": "k",
        "nested": [{"client_secret": HIDDEN}], "secret": True,
    }  # fmt: skip


def test_values_of_the_environment_that_are_named_like_secrets_are_secrets():
    clean = Redactor(
        environ={"MY_API_KEY": "plain-words-1", "HOME": "/home/me", "TOKEN": "short"}
    )
    assert clean({"plain-words-1": "at /home/me: <plain-words-1> short"}) == {
        HIDDEN: f"at /home/me: <{HIDDEN}> short"
    }


def test_more_patterns_or_a_function_may_be_given_and_all_may_be_switched_off():
    assert Redactor("badge-\\d+", {})("badge-12 sk-12345678") == f"{HIDDEN} {HIDDEN}"
    assert Redactor([re.compile("a+"), "b"], {})("aab c") == f"{HIDDEN}{HIDDEN} c"
    assert Redactor(str.upper, {})({"k": ["sk-12345678 x"]}) == {"K": ["[REDACTED] X"]}
    assert Redactor(False, {})({"token": "sk-12345678"}) == {"token": "sk-12345678"}


def test_long_texts_take_linear_time():
    for part in (
        "a-",
        "_a",
        "password",
        "sk-",
        "eyJa.",
        "token: ",
        "://a",
        '"',
        "-----BEGIN PRIVATE KEY-----",
    ):
        Redactor(environ={})(part * (100_000 // len(part)))


KEY = "sk-test-0123456789abcdef"


class Leaky:
    """A model that tells the key by every way out."""

    def stream(self, prompt, **options):
        if "fail" in prompt:
            return ReplyStream(self._failing(), blocking=False)
        return ReplyStream(
            ["the key is sk-te", "st-01234567", "89abcdef, really"], blocking=False
        )

    def generate(self, prompt, **options):
        if "fail" in prompt:
            raise AdapterError(f"bad key {KEY}", body=KEY, reply=Reply(KEY))
        message = {"role": "assistant", "content": [{"type": "text", "text": KEY}]}
        return Reply(
            KEY, tool_calls=[ToolCall("1", "look", {"k": KEY})], message=message
        )

    def _failing(self):
        yield "sk-te"
        yield "st-0123456789abcdef"
        raise ValueError(KEY, KEY)


def leak(run):
    model = run.adapter(Leaky())
    registry = ToolRegistry()

    @registry.tool
    def look(k: str) -> dict:
        """Look."""
        if k == "fail":
            raise ValueError(f"no {KEY}")
        return {"k": k, "env": [KEY]}

    tools = run.tools(registry)
    with run.agent(f"a of {KEY}", key=KEY):
        first = model.generate(
            f"use {KEY}", system=KEY, headers={"authorization": "open sesame"}
        )
        tools.result(first.tool_calls[0])
        tools.result({"name": "look", "arguments": {"k": "fail"}})
        told = model.stream("tell").read()
        for door in (model.generate, lambda prompt: model.stream(prompt).read()):
            with pytest.raises((AdapterError, ValueError)):
                door("fail")
        run.output({"said": told})
    with pytest.raises(ZeroDivisionError), run.agent("b"):
        raise ZeroDivisionError(KEY)


def test_no_way_to_the_file_lets_a_secret_through_and_the_replay_is_the_same(tmp_path):
    path = tmp_path / "run.json"
    with Recording(path) as run:
        leak(run)
    text = path.read_text("utf-8")
    assert "0123456789" not in text
    assert "sk-te" not in text
    assert "open sesame" not in text
    with Replay(path) as again:
        leak(again)
    assert again.snapshot.root == run.snapshot.root


@pytest.mark.parametrize(
    "broken", [lambda text: 1 / 0, lambda text: None], ids=["raises", "forgets"]
)
def test_what_cannot_be_cleaned_is_neither_asked_nor_stored(tmp_path, broken):
    model = ScriptedAdapter(["a"])
    with pytest.raises((ZeroDivisionError, TypeError)):
        with Recording(tmp_path / "run.json", redact=broken) as run:
            run.adapter(model).generate("go")
    assert model.calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_swallowed_failure_to_clean_leaves_no_file(tmp_path):
    def clean(text):
        return text if "answer" not in text else 1 / 0

    with pytest.raises(RuntimeError, match="nothing was stored"):
        with Recording(tmp_path / "run.json", redact=clean) as run:
            model = run.adapter(ScriptedAdapter(["answer"]))
            with pytest.raises(ZeroDivisionError):
                model.generate("go")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        {"accessToken": "hunter2"},
        {"dbPassword": "hunter2"},
        {"cookies": {"sid": "hunter2"}},
        {"headers": [["x-api-key", "hunter2"]]},
        {"$map": [["password", "hunter2"], [1, 2]]},
        [{"name": "Authorization", "value": "hunter2"}],
    ],
)
def test_secrets_are_known_by_the_name_beside_them(data):
    told = Redactor(environ={})(data)
    assert "hunter2" not in str(told)
    assert Redactor(environ={})(told) == told


def test_bytes_are_looked_into():
    clean = Redactor(environ={})
    told = clean(encode(b"Authorization: Bearer hunter2hunter2"))
    assert decode(told) == f"Authorization: Bearer {HIDDEN}".encode()
    assert clean(told) == told
    assert clean(encode(b"\xff\x00")) == encode(b"\xff\x00")


def test_where_the_process_runs_is_no_secret():
    assert (
        Redactor(environ={"PWD": "/home/somebody"})("/home/somebody")
        == "/home/somebody"
    )


@pytest.mark.parametrize(
    "value",
    [
        {1: 2, "password": "hunter"},
        {b"password": b"hunter", 1: 2},
        [(b"x-api-key", b"plainhunter1")],
        [("x-api-key", b"plainhunter1")],
    ],
)
def test_the_name_beside_a_secret_may_be_in_any_mapping_and_be_bytes(value):
    told = Redactor(environ={})(encode(value))
    assert b"hunter" not in str(decode(told)).encode()
    assert Redactor(environ={})(told) == told


@pytest.mark.parametrize(
    "name",
    [
        "AZURE_OPENAI_KEY",
        "PGPASSWORD",
        "OPENAI_API_KEY_2",
        "GITHUB_PAT",
        "SMTP_PASS",
        "API_KEY",
    ],
)
def test_the_environment_calls_its_secrets_in_many_ways(name):
    secret = 'ab"cd\\efgh/x'
    clean = Redactor(environ={name: secret, "KEYMAP": "sixteen-letters"})
    assert clean(f"sixteen-letters {secret}") == f"sixteen-letters {HIDDEN}"
    assert "efgh" not in clean(json.dumps({"said": secret}))


def test_paths_in_the_environment_are_no_secrets():
    assert (
        Redactor(environ={"SSL_KEY": "/etc/ssl/own.pem"})("/etc/ssl/own.pem")[0] == "/"
    )


def test_the_pieces_of_a_stream_that_nobody_finished_are_not_stored_as_they_came(
    tmp_path,
):
    with Recording(tmp_path / "run.json") as run:
        stream = run.adapter(Leaky()).stream("tell")
        assert "sk-te" in next(stream)
        assert "st-0123" in next(stream)
    assert "sk-te" not in (tmp_path / "run.json").read_text()
    stream.close()
