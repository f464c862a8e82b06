"""`[webhooks.*]` and `[deliveries.*]`: what a file may say, and what is wrong with it."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from jackfield.config import Delivery, Secret, Webhook, parse_config, webhooks_check
from jackfield.config.webhooks_check import key_bytes
from jackfield.errors import ConfigError

INSTALLED = EntryPoints([EntryPoint("delivery:http", "nothing:at_all", "jackfield.adapters")])
KEY = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"


@pytest.fixture(autouse=True)
def secrets(monkeypatch, tmp_path):
    """Have a sender of results installed, and secrets."""
    monkeypatch.setattr(webhooks_check, "entry_points", INSTALLED.select)
    monkeypatch.setenv("HOOK_SECRET", KEY)
    monkeypatch.setenv("HOOK_PLAIN", "swordfish!")
    (tmp_path / "new.secret").write_text(KEY)


def parsed(text, folder):
    return parse_config(text.encode(), folder / "jackfield.toml")


def faults(text, folder):
    with pytest.raises(ConfigError) as caught:
        parsed(text, folder)
    assert "swordfish" not in str(caught.value)
    return {fault.entry.partition(" ")[0]: fault for fault in caught.value.faults}


def test_without_the_tables_there_are_none(tmp_path):
    """And nothing is looked up."""
    found = parsed("discover = true", tmp_path)
    assert (dict(found.webhooks), dict(found.deliveries)) == ({}, {})


def test_secrets_are_references_one_or_several(tmp_path):
    """Files are relative to the configuration's."""
    text = """
[webhooks."github.push"]
function = "ci.on_push"
scheme = "github"
secret = ["env:HOOK_PLAIN", "file:new.secret"]
[webhooks.events]
function = "take"
scheme = "none"
[webhooks.short]
function = "take"
secret = "env:HOOK_SECRET"
[deliveries.crm]
url = "https://crm.example.com/hook"
secret = "env:HOOK_SECRET"
functions = ["billing.*"]
"""
    found = parsed(text, tmp_path)
    file = Secret(f"file:{tmp_path / 'new.secret'}")
    assert found.webhooks == {
        "github.push": Webhook("ci.on_push", "github", (Secret("env:HOOK_PLAIN"), file)),
        "events": Webhook("take", "none"),
        "short": Webhook("take", "standard", (Secret("env:HOOK_SECRET"),)),
    }
    crm = Delivery("crm", "https://crm.example.com/hook", (Secret("env:HOOK_SECRET"),), ("billing.*",))
    assert found.deliveries == {"crm": crm}


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("secret = 'env:HOOK_SECRET'", "webhooks.x.function", "add function ="),
        ("function = 'f'", "webhooks.x.secret", "add secret ="),
        ("function = 'f'\nsecret = []", "webhooks.x.secret", "add secret ="),
        ("function = 'f'\nscheme = 'none'\nsecret = 'env:HOOK_SECRET'", "webhooks.x.secret", "take it away"),
        ("function = 'f'\nscheme = 'githb'", "webhooks.x.scheme", "did you mean 'github'?"),
        ("function = 'f'\nscheme = 'github'\nsecret = 'swordfish'", "webhooks.x.secret", "'env:NAME'"),
        ("function = 'f'\nscheme = 'github'\nsecret = 'env:NOT_SET'", "webhooks.x.secret", "set NOT_SET"),
        ("function = 'f'\nscheme = 'github'\nsecret = ['env:HOOK_PLAIN', 7]", "webhooks.x.secret[1]", ""),
        ("function = 'f'\nscheme = 'github'\nsecret = 'file:nope'", "webhooks.x.secret", "create the file"),
        ("function = 'f'\nsecret = 'env:HOOK_PLAIN'", "webhooks.x.secret", "openssl rand"),
        ("function = 'f'\nsecret = ['env:HOOK_SECRET', 'env:HOOK_PLAIN']", "webhooks.x.secret[1]", "openssl rand"),
        ("function = 'no name'\nsecret = 'env:HOOK_SECRET'", "webhooks.x.function", ""),
        ("function = 'f'\nscheme = 'none'\ntenat = 'x'", "webhooks.x.tenat", "did you mean 'tenant'?"),
        ("function = 'f'\nscheme = 'none'\n[webhooks.a.b]\nfunction = 'f'", "webhooks.a.b", "needs quotes: 'a.b'"),
        ("function = 'f'\nscheme = 'none'\n[webhooks.'a/b']\nfunction = 'f'\nscheme = 'none'", 'webhooks."a/b"', ""),
        ("function = 'f'\nscheme = 'none'\n[tenants.t]", "webhooks.x.tenant", "add tenant ="),
        ("function = 'f'\nscheme = 'none'\ntenant = 'tt'\n[tenants.t]", "webhooks.x.tenant", "did you mean 't'?"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said_with_its_line(tmp_path, text, key, fix):
    """As of any other table."""
    found = faults(f"[webhooks.x]\n{text}", tmp_path)
    assert key in found, found
    assert fix in found[key].fix
    assert "(line " in found[key].entry


@pytest.mark.parametrize(
    ("url", "private", "good"),
    [
        ("https://crm.example.com/hook?a=1", "false", True),
        ("https://crm.example.com:8443/hook", "false", True),
        ("https://8.8.8.8/hook", "false", True),
        ("http://crm.example.com/hook", "false", False),
        ("http://crm.internal/hook", "true", True),
        ("https://10.0.0.1/hook", "false", False),
        ("https://[::1]/hook", "false", False),
        ("https://[fd00::1]/hook", "false", False),
        ("https://[::ffff:127.0.0.1]/hook", "false", False),
        ("https://169.254.169.254/latest", "false", False),
        ("https://localhost/hook", "false", False),
        ("https://x.localhost/hook", "false", False),
        ("http://127.0.0.1:8080/hook", "true", True),
        ("ftp://crm.example.com/hook", "true", False),
        ("file:///etc/passwd", "true", False),
        ("crm.example.com/hook", "true", False),
        ("https://user:swordfish@crm.example.com/", "true", False),
        ("https://crm.example.com/#part", "true", False),
        ("https://crm.example.com:0/", "true", False),
        ("https://crm.example.com:99999/", "true", False),
        ("https://crm.example.com/a b", "true", False),
        ("https:///hook", "true", False),
        ("", "true", False),
    ],
)
def test_results_go_to_addresses_beyond_this_network_over_tls_unless_said_otherwise(tmp_path, url, private, good):
    """What a name resolves to is looked at when it is sent."""
    text = f"[deliveries.x]\nurl = {url!r}\nsecret = 'env:HOOK_SECRET'\nfunctions = ['f']\nprivate = {private}"
    if good:
        assert parsed(text, tmp_path).deliveries["x"].url == url
    else:
        assert "deliveries.x.url" in faults(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("secret = 'env:HOOK_SECRET'\nfunctions = ['f']", "deliveries.x.url", "add url ="),
        ("url = 'https://x.org'\nfunctions = ['f']", "deliveries.x.secret", "add secret ="),
        ("url = 'https://x.org'\nsecret = 'env:HOOK_SECRET'", "deliveries.x.functions", "add functions ="),
        ("url = 'https://x.org'\nsecret = 'env:HOOK_PLAIN'\nfunctions = ['f']", "deliveries.x.secret", "openssl rand"),
        ("url = 'https://x.org'\nsecret = 'env:HOOK_SECRET'\nfunctions = ['f f']", "deliveries.x.functions[0]", ""),
    ],
)
def test_what_is_wrong_with_a_delivery_is_said_with_its_line(tmp_path, text, key, fix):
    """As of any other table."""
    found = faults(f"[deliveries.x]\n{text}", tmp_path)
    assert fix in found[key].fix
    assert "(line " in found[key].entry


def test_without_an_adapter_nothing_can_be_sent(tmp_path, monkeypatch):
    """The fault says what to install."""
    monkeypatch.setattr(webhooks_check, "entry_points", EntryPoints([]).select)
    text = "[deliveries.x]\nurl = 'https://x.org'\nsecret = 'env:HOOK_SECRET'\nfunctions = ['f']"
    assert faults(text, tmp_path)["deliveries"].fix == "pip install 'jackfield-contrib[http]'"


@pytest.mark.parametrize(
    ("secret", "key"),
    [("whsec_c2VjcmV0", b"secret"), ("c2VjcmV0", b"secret"), ("whsec_c2VjcmU=", b"secre"), ("whsec_c2VjcmU", b"secre"),
     ("", b""), ("whsec_", b""), ("swordfish!", b""), ("é", b"")],
)  # fmt: skip
def test_a_secret_of_standard_webhooks_is_base64(secret, key):
    """With the prefix or without, padded or not."""
    assert key_bytes(secret) == key
