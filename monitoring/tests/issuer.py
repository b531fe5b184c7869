"""Stands for the one who issues tokens: a webhook that verifies them, and a JSON Web Key Set. Both can be told to fail."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The example key of RFC 7517, appendix A.1. Nothing is signed with it here; it only has to be a key.
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "use": "sig",
    "kid": "1",
}


class Issuer:
    """Answers until it is closed; `fails` makes it answer 500."""

    def __init__(self):
        self.fails = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                """A verdict: every token is valid, after a pause in which others with the same token wait too."""
                self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(0.02)
                self._answer({"valid": True, "subscribe": ["*"], "publish": ["*"]})

            def do_GET(self):
                """The key set."""
                self._answer({"keys": [KEY]})

            def _answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(500 if issuer.fails else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
