"""How a block of each language is checked or run."""

import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

import pages
from pages import Block, Mistake
from running import Program, proxy_program, request

ATTRIBUTES = {"title", "file", "run", "reason", "expect", "background", "exit", "wrap", "publish"}
# Languages whose blocks run; those of CHECKS that are not here are checked.
RUN = {"sh", "js", "html", "python"}
# Nothing to check: output, diagrams.
TEXT = {"text", "console"}
KUBERNETES = "1.34"
# Commands that are for a machine of another kind.
CLUSTER = "needs a cluster"
ELSEWHERE = {
    "kubectl": CLUSTER, "helm": CLUSTER, "docker": "needs Docker", "journalctl": "needs systemd", "systemctl": "needs systemd",
}


def check_attributes(block: Block) -> None:
    """Every block says what it is, and one that is not run says why."""
    unknown = set(block.attributes) - ATTRIBUTES
    if not block.language:
        raise Mistake(f"{block.place}: the block has no language")
    if unknown:
        raise Mistake(f"{block.place}: nobody knows the attribute {', '.join(unknown)}")
    if (block.attributes.get("run") == "no") != bool(block.attributes.get("reason")):
        raise Mistake(f'{block.place}: run="no" and reason="..." go together')
    if block.language not in {"sh", *CHECKS, *TEXT} and not {"file", "run"} & set(block.attributes):
        raise Mistake(f'{block.place}: {block.language} is not run, so it needs file="..." or run="no" with a reason')


def elsewhere(block: Block) -> str | None:
    """Why a block of shell cannot run here, if all its commands are for a cluster, a container daemon or a service manager."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = {line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")}
    if block.language == "sh" and words and words <= set(ELSEWHERE):
        return ELSEWHERE[min(words)]
    return None


def copied(block: Block) -> str:
    """What the block is to show: the file, or the part of it between lines with `[name]` and `[/name]` in a comment."""
    name, _, part = block.attributes["file"].partition("#")
    path = pages.ROOT / name
    if not path.exists():
        raise Mistake(f"{block.place}: there is no {name}")
    lines = path.read_text(encoding="utf-8").splitlines()
    if part:
        first = next((i for i, line in enumerate(lines) if f"[{part}]" in line), None)
        last = next((i for i, line in enumerate(lines) if f"[/{part}]" in line), None)
        if first is None or last is None:
            raise Mistake(f"{block.place}: {name} has no part {part}")
        lines = lines[first + 1 : last]
    return "\n".join(lines) + "\n"


def check_copy(block: Block) -> None:
    if copied(block) != block.text:
        raise Mistake(f"{block.place}: differs from {block.attributes['file']}; `make docs-copies` copies it")


def check_syntax(session, block: Block) -> None:
    """What can be said of a block that is not run."""
    if block.language == "sh":
        _command(block, ["bash", "-n"], block.text)
    elif block.language in ("yaml", "json"):
        CHECKS[block.language](session, block)


def _command(block: Block, arguments: list[str], text: str, environment: dict[str, str] | None = None) -> str:
    run = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=60, env=environment)
    if run.returncode != 0:
        raise Mistake(f"{block.place}: {Path(arguments[0]).name} says:\n{run.stdout}{run.stderr}")
    return run.stdout + run.stderr


# === Configurations and manifests ===


def check_toml(session, block: Block) -> None:
    """A configuration of the proxy. Where it says nothing of tokens, so that it could not start, none are asked for."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "proxy.toml"
        file.write_text(block.text, encoding="utf-8")
        environment = {"PATH": "/usr/bin:/bin"}
        if not any(word in block.text for word in ("[auth]", "[[auth.", "[jwt_verifier]")):
            environment["REVENPROX_JWT_VERIFIER__REQUIRE_AUTHENTICATION"] = "false"
        _command(block, [str(proxy_program()), "check", "--skip-files", str(file)], "", environment)


def check_yaml(session, block: Block) -> None:
    """Objects of Kubernetes are held against their schemas; a part of one is put where `wrap` says first."""
    try:
        documents = [document for document in yaml.safe_load_all(block.text) if document is not None]
    except yaml.YAMLError as error:
        raise Mistake(f"{block.place}: {error}") from None
    for document in documents:
        if block.attributes.get("wrap") == "RevenProxCluster":
            document = {"apiVersion": "revenprox.io/v1alpha1", "kind": "RevenProxCluster", "metadata": {"name": "demo"}, **document}
        if isinstance(document, dict) and "kind" in document and "apiVersion" in document:
            check_object(block, document)


def check_object(block: Block, document: dict) -> None:
    group = document["apiVersion"].partition("/")[0]
    try:
        if document["kind"] == "RevenProxCluster":
            jsonschema.Draft202012Validator(cluster_schema(), format_checker=None).validate(document)
        elif group.endswith((".networking.k8s.io", ".coreos.com")) and "gateway" in group or group.endswith(".coreos.com"):
            # Definitions of other projects: their schemas are not here, so only the form is looked at.
            if not document.get("metadata", {}).get("name"):
                raise Mistake(f"{block.place}: the object has no name")
        elif group != "kustomize.config.k8s.io":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        where = "/".join(str(step) for step in error.path)
        raise Mistake(f"{block.place}: {document['kind']}: {where}: {error.message}") from None


def cluster_schema() -> dict:
    """The schema of a RevenProxCluster, strict like the API server where fields are unknown."""
    definition = yaml.safe_load((pages.ROOT / "crds" / "revenproxclusters.yaml").read_text(encoding="utf-8"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"].update({name: {} for name in ("apiVersion", "kind", "metadata")})
    _make_strict(schema)
    return schema


def _make_strict(schema) -> None:
    if isinstance(schema, list):
        for entry in schema:
            _make_strict(entry)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        if schema.pop("nullable", False) and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        for entry in list(schema.values()):
            _make_strict(entry)


def check_json(session, block: Block) -> None:
    """One document, or one on each line."""
    try:
        json.loads(block.text)
    except ValueError:
        try:
            for line in block.text.splitlines():
                json.loads(line)
        except ValueError as error:
            raise Mistake(f"{block.place}: {error}") from None


def check_promql(session, block: Block) -> None:
    """Expressions for Prometheus, one in each paragraph or one on each line; promtool reads them as rules."""
    for paragraph in filter(None, (text.strip() for text in re.split(r"\n\s*\n", block.text))):
        try:
            _check_expressions(block, [paragraph])
        except Mistake:
            if "\n" not in paragraph:
                raise
            _check_expressions(block, paragraph.splitlines())


def _check_expressions(block: Block, expressions: list[str]) -> None:
    rules = [{"record": f"block:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "blocks", "rules": rules}]}), encoding="utf-8")
        _command(block, ["promtool", "check", "rules", str(file)], "")


# === Programs ===


def run_python(session, block: Block) -> None:
    program = session.start(
        Program(["python3", "-c", session.rewritten(block.text)], session.folder / f".python-{block.line}.output", folder=session.folder)
    )
    session.expect(block, program)
    if program.process.wait(60) != 0:
        raise Mistake(f"{block.place}: failed:\n{program.text()}")


def run_javascript(session, block: Block) -> None:
    """In Node.js if it says so, otherwise in a page of a browser, where what it logs becomes the page's text."""
    text = session.rewritten(block.text)
    if block.attributes.get("run") == "node":
        script = session.folder / f"block-{block.line}.mjs"
        script.write_text(text, encoding="utf-8")
        program = session.start(Program(["node", str(script)], script.with_suffix(".output"), folder=session.folder))
        session.expect(block, program)
        if program.process.wait(60) != 0:
            raise Mistake(f"{block.place}: failed:\n{program.text()}")
        return
    log = 'console.log = (...values) => document.body.append(values.join(" ") + "\\n");'
    browse(session, block, f"<!doctype html><body><script>{log}\nonerror = console.log;\n{text}</script>")


def run_html(session, block: Block) -> None:
    browse(session, block, session.rewritten(block.text))


def browse(session, block: Block, text: str) -> None:
    """Opens a page in Chromium while `publish="TOPIC DATA"` is published again and again, and looks at what it shows."""
    browser = shutil.which("chromium")
    if not browser:
        raise Mistake(f"{block.place}: chromium is missing; run ./install.sh --tools-only documentation")
    if "expect" not in block.attributes:
        raise Mistake(f'{block.place}: needs expect="..."')
    over = threading.Event()
    thread = threading.Thread(target=_publish_until, args=(session, block, over))
    thread.start()
    try:
        # Chromium prints a page once it is loaded, so a picture that takes its time gives the page time for events.
        for seconds in (2, 6, 20):
            shown = _page_after(session, block, browser, text, seconds)
            if session.rewritten(block.attributes["expect"]) in shown:
                return
    finally:
        over.set()
        thread.join()
    raise Mistake(f"{block.place}: does not show `{block.attributes['expect']}` but:\n{shown}")


def _page_after(session, block: Block, browser: str, text: str, seconds: float) -> str:
    """What a page shows after so many seconds."""
    with SlowPicture(seconds) as picture:
        file = session.folder / f"page-{block.line}.html"
        file.write_text(f'{text}\n<img src="http://127.0.0.1:{picture.port}/" alt="">', encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={session.folder}/browser"]
        program = session.start(
            Program(
                ["sh", "-c", 'exec "$@" 2> /dev/null', "sh", browser, *options, "--dump-dom", f"file://{file}"],
                session.folder / f".page-{block.line}.output", folder=session.folder,
            )
        )
        program.process.wait(seconds + 60)
        # What a script says is no proof that it was shown.
        return re.sub(r"<(script|style)\b.*?</\1>", "", program.text(), flags=re.DOTALL)


class SlowPicture:
    """A server on a free port that answers everything with 404 after so many seconds."""

    def __init__(self, seconds: float):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(seconds)
                self.send_error(404)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def _publish_until(session, block: Block, over: threading.Event) -> None:
    topic, _, data = block.attributes.get("publish", "").partition(" ")
    while topic and not over.wait(0.2):
        request(session.port(8080), "POST", f"/events/{topic}", data)


CHECKS = {
    "toml": check_toml,
    "yaml": check_yaml,
    "json": check_json,
    "promql": check_promql,
    "python": run_python,
    "js": run_javascript,
    "html": run_html,
}
