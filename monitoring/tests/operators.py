"""An operator that runs outside of Kubernetes."""

import os

from processes import answers, free_port, program, wait_for


def start(processes, kubernetes):
    """Starts one for what stands for Kubernetes; returns its port."""
    configuration = processes.folder / "kubeconfig"
    configuration.write_text(kubernetes.configuration())
    port = free_port()
    command = [program("OPERATOR"), "run", "--listen", f"127.0.0.1:{port}"]
    processes.start("operator", command, os.environ | {"KUBECONFIG": str(configuration)})
    wait_for("the operator", answers(f"http://127.0.0.1:{port}/readyz"))
    return port
