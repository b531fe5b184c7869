"""Stands for Kubernetes' API server, just enough that an operator leads and looks at clusters: what it writes is thrown away.

The end-to-end tests run the operator on a real Kubernetes; here only its metrics are of interest.
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# One cluster as it should be, one that its autoscaler has to enlarge, one that nobody can make.
SPECS = {
    "good": {"replicas": 2},
    "grows": {"replicas": 1, "autoscaling": {"minReplicas": 2, "maxReplicas": 4, "targetConnections": 100}},
    "hindered": {"config": {"http": {"max_connections": -1}}},
}


def _cluster(name, spec, port):
    config = {"jwt_verifier": {"require_authentication": False}, "http": {"bind_address": f"0.0.0.0:{port}"}} | spec.get("config", {})
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "1", "generation": 1}
    return {"apiVersion": "revenprox.io/v1alpha1", "kind": "RevenProxCluster", "metadata": metadata, "spec": spec | {"config": config}}


def _pod(cluster):
    """A ready pod of a cluster; its proxy is the one that listens on this machine."""
    labels = {
        "app.kubernetes.io/name": "revenprox",
        "app.kubernetes.io/instance": cluster,
        "app.kubernetes.io/component": "proxy",
        "app.kubernetes.io/managed-by": "revenprox-operator",
    }
    metadata = {"name": f"{cluster}-0", "namespace": "default", "uid": f"uid-{cluster}-0", "resourceVersion": "1", "labels": labels}
    status = {"podIP": "127.0.0.1", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    spec = {"containers": [{"name": "proxy", "image": "proxy"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects = {}
    port = 0
    writes = 0
    is_open = threading.Event()

    def do_GET(self):
        """A single object is there if it was written; lists are empty but for clusters, and in watches nothing happens."""
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        parts = url.path.strip("/").split("/")
        if query.get("watch"):
            self._watch()
        elif url.path in self.objects:
            self._answer(200, self.objects[url.path])
        elif parts[-2] in ("v1", "v1alpha1") or parts[-3] == "namespaces":
            listed = {
                "revenproxclusters": [_cluster(*pair, self.port) for pair in SPECS.items()],
                "pods": [_pod("grows")],
            }
            items = listed.get(parts[-1], [])
            self._answer(200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
        else:
            self._missing()

    def do_POST(self):
        """Something new is as it was sent."""
        sent = self._sent()
        self.objects[f"{urlsplit(self.path).path}/{sent['metadata']['name']}"] = sent
        self._answer(201, sent)

    def do_PUT(self):
        """So is what is replaced; the status of a cluster is answered with all of it."""
        sent, path = self._sent(), urlsplit(self.path).path
        type(self).writes += 1
        if self.writes % 50 == 0:
            # Even an API server is out of sorts at times.
            self._answer(500, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "out of sorts"})
            return
        if path.endswith("/status"):
            name = path.split("/")[-2]
            sent = _cluster(name, SPECS[name], self.port) | {"status": sent["status"]}
        self.objects[path] = sent
        self._answer(200, sent)

    do_PATCH = do_PUT

    def do_DELETE(self):
        """Nothing that is to be removed is there."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._missing()

    def _sent(self):
        value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        metadata = value.setdefault("metadata", {})
        metadata.setdefault("name", self.path.split("?")[0].rsplit("/", 1)[1])
        metadata |= {"uid": "uid", "resourceVersion": "2"}
        if texts := value.pop("stringData", None):
            value["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        return value

    def _watch(self):
        """A watch without changes, until the server is closed."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        while self.is_open.is_set():
            threading.Event().wait(0.2)
        self.close_connection = True

    def _missing(self):
        self._answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})

    def _answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


class Kubernetes:
    """Answers until it is closed. The one pod that it knows of listens on the port of `proxy`."""

    def __init__(self, proxy):
        _Handler.objects.clear()
        _Handler.port = proxy
        _Handler.writes = 0
        _Handler.is_open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def configuration(self):
        """What KUBECONFIG is to name, as JSON, which is YAML as well."""
        cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}
        users = [{"name": "test", "user": {}}]
        return json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": users, "current-context": "test"})

    def close(self):
        """Answers no more."""
        _Handler.is_open.clear()
        self._server.shutdown()
        self._server.server_close()
