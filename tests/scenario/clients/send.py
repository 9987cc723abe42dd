"""send.py PORT: sends HL7 files by python3-hl7's mllp_send, as send.js does by others' clients: reads a
file's name a line, and writes a line of JSON, {"error": "why"}. The command itself, in a process of its
own each time, without starting Python anew."""
import json
import os
import signal
import sys
import tempfile

from hl7.client import mllp_send

SECONDS = 10 * int(os.environ.get("PATIENCE", "1"))


def send(path, errors):
    signal.alarm(SECONDS)
    os.dup2(errors.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    sys.argv = ["mllp_send", "-p", sys.argv[1], "-f", path, "127.0.0.1"]
    sys.exit(mllp_send())


def main():
    for line in iter(sys.stdin.readline, ""):
        with tempfile.TemporaryFile() as errors:
            child = os.fork()
            if child == 0:
                send(line.rstrip("\n"), errors)
            status = os.waitpid(child, 0)[1]
            errors.seek(0)
            said = errors.read().decode().strip().split("\n")[-1]
        print(json.dumps({"error": "no answer" if os.WIFSIGNALED(status) else said}), flush=True)


if __name__ == "__main__":
    main()
