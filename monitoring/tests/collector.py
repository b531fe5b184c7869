"""The OpenTelemetry collector, as the Compose file has it but for the addresses."""

from processes import ROOT, answers, free_port, program, wait_for

CONFIG = ROOT / "deploy/compose/collector.yaml"


def start(processes):
    """Starts it; returns the ports for traces and for its health."""
    text = CONFIG.read_text()
    otlp, health = free_port(), free_port()
    for old, new in (
        ("0.0.0.0:13133", f"127.0.0.1:{health}"),
        ("0.0.0.0:4318", f"127.0.0.1:{otlp}"),
        ("host: 0.0.0.0", "host: 127.0.0.1"),
        ("port: 8888", f"port: {free_port()}"),
    ):
        if old not in text:
            raise AssertionError(f"{old} is not in {CONFIG}")
        text = text.replace(old, new)
    config = processes.folder / "collector.yaml"
    config.write_text(text)
    processes.start("collector", [program("COLLECTOR"), "--config", str(config)])
    wait_for("the collector", answers(f"http://127.0.0.1:{health}/"))
    return otlp, health
