"""A webhook that decides about tokens, with nothing but Python's standard library.

PORT=9000 TOKEN_SECRET=... HOOK_SECRET=... python3 webhook.py
"""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN_SECRET = os.environ["TOKEN_SECRET"].encode()  # signs the users' tokens (HS256)
HOOK_SECRET = os.environ["HOOK_SECRET"].encode()  # jwt_verifier.hmac_secret of the proxy
LONGEST_BODY = 64 * 1024


def is_from_the_proxy(headers, body: bytes) -> bool:
    """Whether the call is signed with our secret, and lately: a recorded call is of no use after a minute."""
    timestamp = headers.get("X-RevenProx-Timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 60:
        return False
    expected = hmac.new(HOOK_SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"v1={expected}", headers.get("X-RevenProx-Signature", ""))


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims_of(token: str) -> dict:
    """The claims of a token of ours that is still valid; anything else is a ValueError."""
    head, payload, signature = token.split(".")
    if json.loads(decoded(head)).get("alg") != "HS256":
        raise ValueError("this token is not signed with HS256")
    expected = hmac.new(TOKEN_SECRET, f"{head}.{payload}".encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(expected, decoded(signature)):
        raise ValueError("the signature is wrong")
    claims = json.loads(decoded(payload))
    if claims["exp"] <= time.time():
        raise ValueError("the token has expired")
    return claims


def decide(question: dict) -> dict:
    """The verdict about a token: whether it is good, whose it is, and what may be done with it."""
    try:
        claims = claims_of(question["jwt"])
        user = claims["sub"]
    except (ValueError, KeyError, TypeError) as error:
        return {"valid": False, "reason": str(error)}
    verdict = {"valid": True, "sub": user, "exp": int(claims["exp"]), "subscribe": [f"user-{user}-*", "news"], "publish": []}
    if claims.get("role") == "backend":
        verdict["publish"] = ["user-*", "news"]
    return verdict


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the proxy keeps its connections open

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LONGEST_BODY))
        if not is_from_the_proxy(self.headers, body):
            return self.answer(401, {"valid": False, "reason": "the call is not signed"})
        self.answer(200, decide(json.loads(body)))

    def answer(self, status: int, content: dict):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Tokens do not belong into a log, and neither does a line for each of them."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Webhook).serve_forever()
