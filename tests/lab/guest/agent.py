"""The server VM's end of the control channel: runs what the harness sends, one JSON line each way.

It must never decide anything: commands come from the harness, results go back as they are.
"""

import base64
import glob
import json
import subprocess
import threading


def run(request):
    try:
        done = subprocess.run(
            ["bash", "-c", request["command"]], input=base64.b64decode(request.get("stdin", "")),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=request["timeout"],
        )
        return done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        return 124, late.stdout or b"", (late.stderr or b"") + b"\nlab: deadline passed\n"


def main():
    with open(glob.glob("/dev/vport*")[0], "r+b", buffering=0) as port:
        lock = threading.Lock()

        def say(message):
            data = (json.dumps(message) + "\n").encode()
            with lock:
                while data:
                    data = data[port.write(data):]

        def answer(request):
            status, out, err = run(request)
            say({"id": request["id"], "rc": status, "out": base64.b64encode(out).decode(),
                 "err": base64.b64encode(err).decode()})

        say({"id": 0, "hello": "barista lab"})
        pending = b""
        while True:
            pending += port.read(65536)
            *lines, pending = pending.split(b"\n")
            for line in lines:
                threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()


main()
