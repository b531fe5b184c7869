"""`sse-proxy subscribe --json`: its lines, in the words of the grid."""

import json
import os
import re
import subprocess
import sys
import threading

from adapter import arguments, report, report_event

url, headers = arguments()
command = [os.environ["SSE_PROXY"], "subscribe", "--json", url]
if headers:
    command += ["--token", headers["Authorization"].removeprefix("Bearer ")]
process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def complaints() -> None:
    """The words for people on the standard error; a refusal names its status."""
    for line in process.stderr:
        found = re.search(r"\b([45]\d\d)\b", line)
        report("error", status=int(found[1]) if found else None, message=line.strip())


thread = threading.Thread(target=complaints)
thread.start()
for line in process.stdout:
    event = json.loads(line)
    report_event(event["id"], event["event"], event["data"])
thread.join()
sys.exit(process.wait())
