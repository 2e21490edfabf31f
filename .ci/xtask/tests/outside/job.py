"""Plays a CI service: makes a key, publishes it, and signs what the service says of one job.

Arguments: the file for the published keys (JWKS), the issuer, the audience, the job's repository. Prints the JWT.
"""

import json
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


def base64(some: bytes) -> str:
    return urlsafe_b64encode(some).rstrip(b"=").decode()


def number(some: int) -> bytes:
    return some.to_bytes(32, "big")


keys, issuer, audience, repository = sys.argv[1:]
key = ec.generate_private_key(ec.SECP256R1())
point = key.public_key().public_numbers()
public = {
    "kty": "EC",
    "crv": "P-256",
    "alg": "ES256",
    "use": "sig",
    "kid": "1",
    "x": base64(number(point.x)),
    "y": base64(number(point.y)),
}
Path(keys).write_text(json.dumps({"keys": [public]}))

now = int(time.time())
claims = {
    "iss": issuer,
    "aud": audience,
    "sub": f"repo:{repository}:ref:refs/heads/main",
    "iat": now,
    "nbf": now,
    "exp": now + 600,
    "repository": repository,
}
head = {"alg": "ES256", "typ": "JWT", "kid": "1"}
signed = ".".join(base64(json.dumps(part).encode()) for part in (head, claims))
# A JWT holds the two numbers as they are, without ASN.1 (RFC 7518, 3.4).
r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
print(f"{signed}.{base64(number(r) + number(s))}")
