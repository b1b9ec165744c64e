"""An authority of a test, and the certificate that it gives to a server on localhost. Both are made anew each time."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


def certified(authority_file):
    """Writes the authority into a file; returns a key and the certificate of its for localhost, as PEM."""
    named = lambda name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = named("an authority of a test")
    authority = certificate(ca, authority_key, ca, authority_key, x509.BasicConstraints(ca=True, path_length=None))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    leaf = certificate(named("localhost"), key, ca, authority_key, names)
    with open(authority_file, "wb") as file:
        file.write(authority.public_bytes(PEM))
    private = serialization.PrivateFormat.PKCS8
    return key.private_bytes(PEM, private, serialization.NoEncryption()), leaf.public_bytes(PEM)


def certificate(subject, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
