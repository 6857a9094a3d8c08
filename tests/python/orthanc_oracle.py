"""Holds de-identified files against Orthanc's own anonymisation of the same originals.

    orthanc_oracle.py RELEASED.ndjson OUT

RELEASED.ndjson is what `lumenbus dicom deidentify --json --out OUT` said. Whatever Orthanc removes, empties or replaces under the
basic profile may not stand in our file with the value that it had. Prints one JSON object: how many files and values were
compared, and what survived, by tag.
"""

import collections
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import pydicom
from pydicom.filebase import DicomBytesIO

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """A server of its own, gone at the end."""

    def __init__(self, folder):
        # Between the look for a free port and its use somebody else may take it.
        for _ in range(5):
            port = free_port()
            settings = pathlib.Path(folder, "orthanc.json")
            settings.write_text(json.dumps({
                "HttpPort": port, "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
                "StorageDirectory": folder, "IndexDirectory": folder, "Plugins": [], "StoreMD5ForAttachments": False,
                "OverwriteInstances": True,
            }))
            self.process = subprocess.Popen(["Orthanc", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.base = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    self.ask("GET", "/system")
                    return
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
            self.process.kill()
            self.process.wait()
        sys.exit("Orthanc does not start")

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def anonymize(self, original):
        """The anonymised file, or None where Orthanc does not take the original."""
        try:
            identifier = json.loads(self.ask("POST", "/instances", original))["ID"]
            return self.ask("POST", f"/instances/{identifier}/anonymize", b'{"Force": true}')
        except urllib.error.HTTPError:
            return None


def values(dataset, path=()):
    """Every element with a value but pixels: where it stands, and its value as text."""
    for element in dataset:
        here = (*path, str(element.tag))
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from values(item, (*here, str(number)))
        elif element.tag.group != 0x7FE0 and element.value not in (None, "", b"", []):
            yield here, element.VR, str(element.value)


def read(data):
    return pydicom.dcmread(DicomBytesIO(data), force=True, stop_before_pixels=True)


def main():
    released = [json.loads(line) for line in open(sys.argv[1])]
    released = [one for one in released if one["type"] == "released"]
    out = pathlib.Path(sys.argv[2])
    files = compared = untaken = 0
    survivors = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        orthanc = Orthanc(folder)
        try:
            for one in released:
                original = pathlib.Path(one["path"]).read_bytes()
                anonymized = orthanc.anonymize(original)
                if anonymized is None:
                    untaken += 1
                    continue
                files += 1
                theirs = {path: value for path, _, value in values(read(anonymized))}
                ours = {path: value for path, _, value in values(read((out / one["place"]).read_bytes()))}
                for path, vr, value in values(read(original)):
                    if theirs.get(path) == value:
                        continue
                    compared += 1
                    if ours.get(path) == value:
                        survivors["/".join(part for part in path if not part.isdigit())] += 1
        finally:
            orthanc.process.kill()
            orthanc.process.wait()
    print(json.dumps({"files": files, "untaken": untaken, "compared": compared, "survivors": dict(sorted(survivors.items()))}))


main()
