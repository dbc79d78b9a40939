"""Authorities and the certificates that they issue, for schedulers and their clients."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from distributed.security import Security

from flows.cluster.workers import TlsFiles

_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Authority:
    """An authority whose certificates lie in ``folder``."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path, name: str = "authority") -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        made = _certificate(name, name, key, key, now - _YEAR, now + _YEAR, is_authority=True)
        (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
        return cls(folder, name, key, made)

    def issue(
        self, name: str, begin: datetime | None = None, end: datetime | None = None
    ) -> TlsFiles:
        """Issue a certificate, valid for a year unless the times say otherwise."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        made = _certificate(
            name, self.name, key, self.key, begin or now - _YEAR, end or now + _YEAR
        )
        files = TlsFiles(
            self.folder / f"{self.name}.pem",
            self.folder / f"{name}.pem",
            self.folder / f"{name}.key",
        )
        assert files.certificate
        assert files.key
        files.certificate.write_bytes(made.public_bytes(Encoding.PEM))
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


def cluster_security(files: TlsFiles) -> Security:
    """Return Dask's security of a cluster whose scheduler and workers have one certificate."""
    parts = ("scheduler", "worker", "client")
    return Security(
        require_encryption=True,
        tls_ca_file=str(files.ca),
        **{f"tls_{part}_cert": str(files.certificate) for part in parts},
        **{f"tls_{part}_key": str(files.key) for part in parts},
    )


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signed_by: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    *,
    is_authority: bool = False,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(signed_by, hashes.SHA256())
    )
