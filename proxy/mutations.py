#!/usr/bin/env python3
"""Checks that the simulator finds bugs: applies each mutation to a copy of the tree and simulates until a seed fails.

A mutation whose text is not there exactly once, that does not compile, or that no seed finds is a failure.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEEDS = os.environ.get("SEEDS", "0..40")
ROOT = Path(__file__).resolve().parent.parent
PARTS = ["Cargo.toml", "Cargo.lock", "bench", "clippy.toml", "config", "crds", "e2e", "mesh", "operator", "proxy",
         "README.md", "rust-toolchain.toml"]

# What is broken, where, which text, and what it becomes.
MUTATIONS = [
    ("an event in seven is not forwarded to subscribers", "mesh/src/node/flow.rs",
     "if !keeps && !peer.interest.matches(&probe) {",
     "if !keeps && (event.stamp.clock % 7 == 0 || !peer.interest.matches(&probe)) {"),
    ("the second keeper is forgotten", "mesh/src/node/flow.rs",
     "let keeps = keepers.contains(id);", "let keeps = keepers.first() == Some(id);"),
    ("a resume skips one event", "proxy/src/log/topic_log.rs",
     "return (end, self.floor <= *id);",
     "return (self.around(end.offset).map_or(end, |(_, next)| next), self.floor <= *id);"),
    ("a resume begins one event early", "proxy/src/log/topic_log.rs",
     "return (end, self.floor <= *id);",
     "return (self.around(end.offset - 1).map_or(end, |(start, _)| start), self.floor <= *id);"),
    ("ids follow the system clock alone", "proxy/src/event/id.rs",
     "let step = |last: u64| now.max(last + 1);", "let step = |last: u64| if now > 0 { now } else { last + 1 };"),
    ("lost batches are not asked for again", "mesh/src/link/incoming.rs",
     "if now < due {", "if now < due || first > 0 {"),
    ("nothing is repaired after a break", "proxy/src/mesh/handover.rs",
     "if let Some(since) = repair {", "if let Some(since) = repair.filter(|_| false) {"),
    ("nothing is fetched for who comes back", "proxy/src/hub/keeping.rs",
     "from < self.floor(topic) && topic.can_fill()", "from < self.floor(topic) && topic.can_fill() && false"),
    ("replicated is said without waiting", "proxy/src/mesh/keeping.rs",
     "timeout_at(deadline, try_all).await.is_ok()", "timeout_at(deadline, try_all).await.is_ok() || true"),
    ("the digest covers nothing", "proxy/src/log/recent.rs",
     "others ^= Digest::of(last);", "let _ = (last, &mut others);"),
    ("interest is withdrawn while there are subscribers", "proxy/src/hub.rs",
     "if unheld && topic.withdraw() {", "if topic.withdraw() {"),
    ("a new keeper is not given its share", "proxy/src/mesh/questions.rs",
     "mesh.asked_by(from);", "let _ = (mesh, from);"),
    ("a keeper says that it has everything", "proxy/src/mesh/keeping.rs",
     "Some(vec![if has { TAKEN } else { BUSY }])", "Some(vec![if has { TAKEN } else { TAKEN }])"),
]


def copy(into):
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, into / part, symlinks=True, ignore=shutil.ignore_patterns("target"))
        elif source.exists():
            shutil.copy2(source, into / part)


def test(tree, *arguments):
    command = [os.environ.get("CARGO", "cargo"), "test", "--locked", "--package", "revenprox-proxy", "--lib"]
    environment = {**os.environ, "RUST_BACKTRACE": "0", "REVENPROX_SIM_SEEDS": SEEDS}
    done = subprocess.run([*command, *arguments], cwd=tree, env=environment, text=True, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def found(tree):
    if test(tree, "--no-run")[0] != 0:
        return False, "it does not compile"
    code, output = test(tree, "--", "--ignored", "--exact", "sim::tests::ends")
    message = re.search(r"^subscriber \d+ .*|^.*panicked at .*\n?.*", output, re.MULTILINE)
    if code == 0:
        return False, f"none of the seeds {SEEDS} finds it"
    return message is not None, message.group(0)[:110] if message else output[-200:]


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        copy(tree)
        for name, path, text, becomes in MUTATIONS:
            if wanted not in name:
                continue
            began, file = time.monotonic(), tree / path
            original = file.read_text()
            if original.count(text) != 1:
                good, message = False, f"the text is there {original.count(text)} times"
            else:
                file.write_text(original.replace(text, becomes))
                good, message = found(tree)
                file.write_text(original)
            failures += not good
            print(f"{'found' if good else 'NOT FOUND':9} {time.monotonic() - began:4.0f} s  {name}: {message}", flush=True)
    return 1 if failures else 0


sys.exit(main())
