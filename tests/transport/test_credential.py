"""Credentials: every form that people have, and one sentence for each way in which one cannot be used."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from scripted import TOKEN_PATH, new_certificate, new_key, pem_of, reply_token, token_text

from tap_d365fo.config import Credentials
from tap_d365fo.errors import AuthenticationError
from tap_d365fo.transport.credential import client_credential, looks_like_id

PASSWORD = "hunter2 "
KEY = new_key()
OTHER_KEY = new_key()
CERTIFICATE = new_certificate(KEY)
OTHER = new_certificate(OTHER_KEY, name="issuer")


def read(**credential) -> str | dict:
    return client_credential(Credentials(**credential), now=datetime.now(timezone.utc))


def refused(**credential) -> str:
    with pytest.raises(AuthenticationError) as caught:
        read(**credential)
    assert caught.value.remedy
    assert PASSWORD not in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)
    return caught.value.message


def pfx(password: bytes | None = None, key=KEY, certificate=CERTIFICATE) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"name", key, certificate, [OTHER], encryption)


def given_as(form: str, tmp_path) -> dict:
    """Return the settings of a certificate in one of its forms."""
    file = tmp_path / "certificate"
    secret = PASSWORD.encode()
    contents = {
        "pem text": pem_of(KEY, CERTIFICATE),
        "pem file": pem_of(KEY, CERTIFICATE),
        "pem file with a password": pem_of(KEY, CERTIFICATE, password=secret),
        "pem with its chain, leaf last": pem_of(KEY, OTHER, CERTIFICATE),
        "pem with a password it does not need": pem_of(KEY, CERTIFICATE),
        "pfx": pfx(),
        "pfx with a password": pfx(secret),
    }
    file.write_bytes(contents[form])
    password = PASSWORD if "password" in form else None
    shown = contents[form].decode() if form == "pem text" else str(file)
    return {"certificate": shown, "certificate_password": password}


FORMS = (
    "pem text",
    "pem file",
    "pem file with a password",
    "pem with its chain, leaf last",
    "pem with a password it does not need",
    "pfx",
    "pfx with a password",
)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_certificate_is_read_and_its_own_comes_first(form, tmp_path):
    credential = read(**given_as(form, tmp_path))

    assert credential["private_key"] == pem_of(KEY).decode()
    first = credential["public_certificate"].partition("-----END CERTIFICATE-----")[0]
    assert pem_of(KEY, CERTIFICATE).decode().partition("-----END PRIVATE KEY-----\n")[2].startswith(first)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_signs_in_with_an_assertion_that_names_the_certificate(
    form, tmp_path, authenticator, entra
):
    given = given_as(form, tmp_path)
    made = authenticator(
        client_secret=None,
        client_certificate=given["certificate"],
        client_certificate_password=given["certificate_password"],
    )
    made._clock.now = lambda: datetime.now(timezone.utc)

    assert made.token() == token_text(1)
    asked = entra.to(TOKEN_PATH)[0].form
    assert asked["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    header = json.loads(base64.urlsafe_b64decode(asked["client_assertion"].split(".")[0] + "=="))
    assert header["x5t#S256"]
    assert len(header["x5c"]) >= 1
    assert "client_secret" not in asked


def test_a_secret_is_itself():
    assert read(secret="s3cr3t") == "s3cr3t"


def test_a_federated_token_is_read_anew_each_time(tmp_path, authenticator, entra, clock):
    file = tmp_path / "token"
    file.write_text("first.token.x\n")
    entra.entra(reply_token(1), reply_token(2))
    made = authenticator(client_secret=None, federated_token_file=str(file))

    made.token()
    file.write_text("second.token.x\n")
    clock.pass_time(3600)
    made.token()

    assert [each.form["client_assertion"] for each in entra.to(TOKEN_PATH)] == [
        "first.token.x",
        "second.token.x",
    ]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_federated_token_that_is_gone_in_mid_run_is_an_error_with_a_remedy(
    tmp_path, authenticator, content
):
    file = tmp_path / "token"
    file.write_text("first")
    made = authenticator(client_secret=None, federated_token_file=str(file))
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(AuthenticationError, match="federated_token_file cannot be read") as caught:
        made.token()

    assert "federated_token_file" in str(caught.value.remedy)


def test_an_encrypted_key_without_its_password_says_so():
    text = pem_of(KEY, CERTIFICATE, password=b"x").decode()

    assert "client_certificate_password is not set" in refused(certificate=text)


def test_a_wrong_password_says_so(tmp_path):
    file = tmp_path / "c.pfx"
    file.write_bytes(pfx(b"right"))
    text = pem_of(KEY, CERTIFICATE, password=b"right").decode()

    assert "client_certificate_password is wrong" in refused(certificate=text, certificate_password=PASSWORD)
    assert "client_certificate_password is wrong" in refused(
        certificate=str(file), certificate_password=PASSWORD
    )
    assert "client_certificate_password is wrong" in refused(certificate=str(file))


def test_a_certificate_that_ran_out_says_when():
    old = new_certificate(KEY, days=-3)

    message = refused(certificate=pem_of(KEY, old).decode())

    assert f"the certificate ran out on {old.not_valid_after_utc:%Y-%m-%d}" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pem_of(OTHER_KEY, CERTIFICATE), "does not belong to the certificate"),
        (pem_of(KEY), "does not belong to the certificate"),
        (pem_of(KEY, CERTIFICATE).partition(b"-----END PRIVATE KEY-----\n")[2], "no private key in the PEM"),
        (pem_of(KEY, CERTIFICATE).replace(b"MII", b"XXX"), "the PEM is damaged"),
        (pfx(key=None), "no RSA private key"),
        (b"\x00\x01 no certificate", "is no PEM or PFX file"),
        (b"hello", "is no PEM or PFX file"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, content, said):
    file = tmp_path / "certificate"
    file.write_bytes(content)

    assert said in refused(certificate=str(file))


def test_a_key_of_another_kind_is_refused():
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()

    assert "no RSA private key" in refused(certificate=text)


def test_a_certificate_file_that_is_gone_says_why(tmp_path):
    assert "client_certificate cannot be read: No such file" in refused(certificate=str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("secret", "looks"),
    [
        ("0a1b2c3d-0000-1111-2222-333344445555", True),
        ("0A1B2C3D-0000-1111-2222-333344445555", True),
        ("abc8Q~value.of-a_secret~1234567890abcdef", False),
        ("", False),
        (None, False),
    ],
)
def test_the_form_of_an_id_is_told_from_a_value(secret, looks):
    assert looks_like_id(secret) is looks
