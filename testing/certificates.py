"""Certificates for tests, made when they are needed."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOSTS = ("localhost", "127.0.0.1")
USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM form."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """The certificate's serial number."""
        return serial_of(self.certificate)

    def write(self, folder: Path, name: str = "tls") -> tuple[str, str]:
        """Writes NAME.crt and NAME.key; their paths."""
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        for path, content in zip(paths, (self.certificate, self.key), strict=True):
            path.write_bytes(content)
        return str(paths[0]), str(paths[1])


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "test authority", *, extended: bool = True) -> None:
        """Python 3.13 and newer demand the extensions that are left out unless `extended`; gRPC does not."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = named(name)
        self._extended = extended
        self.certificate = pem(self._signed(self._name, self._key, authority=True))

    def issue(self, name: str = "localhost", hosts: tuple[str, ...] = HOSTS) -> Pair:
        """A new certificate for these hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(named(name), key, hosts=hosts)
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        return Pair(pem(certificate), key.private_bytes(serialization.Encoding.PEM, form, plain))

    def write(self, folder: Path, name: str = "ca.crt") -> str:
        """Writes its own certificate; the path."""
        (folder / name).write_bytes(self.certificate)
        return str(folder / name)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
        hosts: tuple[str, ...] = (),
    ) -> x509.Certificate:
        """A certificate that is good from an hour ago for a day."""
        now = dt.datetime.now(dt.timezone.utc)
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            names = x509.SubjectAlternativeName([host_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        for extension in extensions(key, self._key, authority=authority) if self._extended else ():
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
        return builder.sign(self._key, hashes.SHA256())


def extensions(
    key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, *, authority: bool
) -> Iterator[x509.ExtensionType]:
    """What RFC 5280 demands: whose key this is, whose key signed it, and what the key may do."""
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    uses = dict.fromkeys(USES, False)
    uses |= {"key_cert_sign": True, "crl_sign": True} if authority else {"digital_signature": True}
    yield x509.KeyUsage(**uses)


def named(name: str) -> x509.Name:
    """A distinguished name of a common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def host_name(host: str) -> x509.GeneralName:
    """An address or a name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def serial_of(certificate: bytes) -> int:
    """The serial number of a certificate in PEM form."""
    return x509.load_pem_x509_certificate(certificate).serial_number
