"""A camera over HTTP for tests: GStreamer makes and joins the pictures, Python's own server gives them out.

    python3 camera.py [--port N] [--fps N] [--user NAME --password SECRET --scheme basic|md5|sha-256]

/stream is multipart/x-mixed-replace, /snapshot a single picture, /moved sends on to /stream, /loop to itself, and
/elsewhere?PORT to /snapshot at another port. Prints the port when it listens, and then a line for each request: the path
and what it brings as authorization.
"""

import argparse
import base64
import hashlib
import re
import secrets
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICTURES = "videotestsrc {more} ! video/x-raw,width=320,height=240,framerate={fps}/1 ! jpegenc ! {sink}"
HASHES = {"md5": ("MD5", hashlib.md5), "sha-256": ("SHA-256", hashlib.sha256)}


def pipeline(more, fps, sink):
    """GStreamer, whose output is what is read."""
    words = PICTURES.format(more=more, fps=fps, sink=sink).split()
    return subprocess.Popen(["gst-launch-1.0", "-q", *words, "!", "fdsink", "fd=1"], stdout=subprocess.PIPE)


class Camera(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    nonces = set()

    def log_message(self, *_):
        pass

    def do_GET(self):
        with self.server.saying:
            print(self.path, self.headers.get("Authorization", "-"), flush=True)
        path, _, query = self.path.partition("?")
        if path == "/moved":
            return self.send_on("/stream")
        if path == "/loop":
            return self.send_on("/loop")
        if path == "/elsewhere":
            return self.send_on(f"http://127.0.0.1:{query}/snapshot")
        if self.server.options.user and not self.is_known():
            return self.ask()
        if path == "/stream":
            return self.stream()
        if path == "/snapshot":
            return self.snapshot()
        return self.send_error(404)

    def send_on(self, place):
        self.send_response(302)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def ask(self):
        scheme = self.server.options.scheme
        self.send_response(401)
        if scheme == "basic":
            self.send_header("WWW-Authenticate", 'Basic realm="cam, era"')
        else:
            nonce = secrets.token_hex(16)
            self.nonces.add(nonce)
            name = HASHES[scheme][0]
            # Both are offered, as many cameras do; the better one must be taken.
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header(
                "WWW-Authenticate",
                f'Digest realm="camera", qop="auth", algorithm={name}, nonce="{nonce}", opaque="5ccc"',
            )
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"no way")

    def is_known(self):
        options = self.server.options
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        if options.scheme == "basic":
            expected = base64.b64encode(f"{options.user}:{options.password}".encode()).decode()
            return scheme == "Basic" and rest == expected
        if scheme != "Digest":
            return False
        said = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', rest)}
        made = HASHES[options.scheme][1]

        def digest(*words):
            return made(":".join(words).encode()).hexdigest()

        # RFC 7616, section 3.4.
        who = digest(options.user, "camera", options.password)
        what = digest("GET", self.path)
        expected = digest(who, said["nonce"], said["nc"], said["cnonce"], "auth", what)
        is_asked = said["nonce"] in self.nonces and said["uri"] == self.path and said["username"] == options.user
        return is_asked and said["response"] == expected and said["opaque"] == "5ccc"

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=ThisRandomString")
        self.send_header("Connection", "close")
        self.end_headers()
        made = pipeline("is-live=true", self.server.options.fps, "multipartmux boundary=ThisRandomString")
        try:
            while part := made.stdout.read1(65536):
                self.wfile.write(part)
        except OSError:
            pass
        finally:
            made.kill()
            made.wait()

    def snapshot(self):
        picture = self.server.picture
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--scheme", choices=["basic", *HASHES], default="basic")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Camera)
    server.daemon_threads = True
    server.options = options
    server.saying = threading.Lock()
    server.picture = pipeline("num-buffers=1", 25, "identity").communicate()[0]
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
