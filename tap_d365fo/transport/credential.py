"""The application's credential in the form that MSAL takes, checked before anything is sent.

MSAL finds fault with keys late and in the words of three libraries; a wrong password or a certificate that
has run out is said here in one sentence.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo import remedies
from tap_d365fo.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from tap_d365fo.config import Credentials

_PEM = "-----BEGIN"
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def client_credential(credentials: Credentials, *, now: datetime) -> str | dict[str, Any]:
    """Return what MSAL calls a client credential; raises AuthenticationError where it cannot be used."""
    if credentials.secret:
        return credentials.secret
    if credentials.federated_token_file:
        return {"client_assertion": _assertion_from(Path(credentials.federated_token_file))}
    return _certificate(str(credentials.certificate), credentials.certificate_password, now=now)


def looks_like_id(secret: str | None) -> bool:
    """Say whether a secret has the form of a secret's id, which people paste in its place."""
    return bool(secret and re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", secret))


def _assertion_from(path: Path) -> Callable[[], str]:
    """Return a function that reads the token anew: its platform replaces it about every hour."""

    def read() -> str:
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not a token"
            raise _unusable(f"federated_token_file cannot be read: {reason}", remedy="token-file") from None

    return read


def _certificate(given: str, password: str | None, *, now: datetime) -> dict[str, Any]:
    """Read PEM text, a PEM file or a PFX file; the certificate of the key comes first."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  a certificate is rarely used
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    content = given.encode() if _PEM in given else _file(given)
    secret = password.encode() if password else None
    key, certificates = (_from_pem if _PEM.encode() in content else _from_pfx)(content, secret)
    own = [each for each in certificates if each.public_key() == key.public_key()]
    if not own:
        raise _unusable("the private key does not belong to the certificate")
    end = own[0].not_valid_after_utc
    if end <= now:
        raise _unusable(f"the certificate ran out on {end:%Y-%m-%d}")
    chain = [own[0], *(each for each in certificates if each is not own[0])]
    return {
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "public_certificate": "".join(each.public_bytes(Encoding.PEM).decode() for each in chain),
    }


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise _unusable(f"client_certificate cannot be read: {exc.strerror}") from None


def _from_pem(content: bytes, password: bytes | None) -> tuple[RSAPrivateKey, list[x509.Certificate]]:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    blocks = [(match[1], match[0].encode()) for match in _BLOCK.finditer(content.decode("utf-8", "replace"))]
    keys = [block for name, block in blocks if name.endswith("PRIVATE KEY")]
    if not keys:
        raise _unusable("there is no private key in the PEM")
    is_encrypted = b"ENCRYPTED" in keys[0]
    if is_encrypted and password is None:
        raise _unusable("the private key has a password, and client_certificate_password is not set")
    try:
        key = load_pem_private_key(keys[0], password if is_encrypted else None)
        certificates = [
            x509.load_pem_x509_certificate(block) for name, block in blocks if name == "CERTIFICATE"
        ]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        wrong = (
            "client_certificate_password is wrong or the PEM is damaged"
            if is_encrypted
            else "the PEM is damaged"
        )
        raise _unusable(wrong) from None
    return _rsa(key), certificates


def _from_pfx(content: bytes, password: bytes | None) -> tuple[RSAPrivateKey, list[x509.Certificate]]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415

    try:
        key, certificate, others = pkcs12.load_key_and_certificates(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable("client_certificate_password is wrong, or the file is no PEM or PFX file") from None
    return _rsa(key), [each for each in (certificate, *others) if each is not None]


def _rsa(key: object) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

    if not isinstance(key, RSAPrivateKey):
        raise _unusable("there is no RSA private key, which is what Entra takes")
    return key


def _unusable(reason: str, *, remedy: str = "credential") -> AuthenticationError:
    return AuthenticationError(
        f"Preparing the sign-in failed: {reason}.",
        kind=remedy,
        remedy=str(remedies.find("entra-error", remedy)),
    )
