"""A receiver of webhooks, of Python's standard library alone: it checks time and signature by itself and prints a JSON line
for each request. What it answers, request by request, is in --answers; the last answer is for all that follow."""

import argparse
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--secret", default="")
parser.add_argument("--answers", default="204", help="status codes, hang, head, body")
parser.add_argument("--certificate", nargs=2, metavar=("PEM", "KEY"))
arguments = parser.parse_args()
answers = arguments.answers.split(",")
lock = threading.Lock()
count = 0


def tell(what):
    print(json.dumps(what), flush=True)


def is_signed(headers, body):
    fields = dict(field.split("=", 1) for field in headers.get("X-Lumenbus-Signature", "").split(",") if "=" in field)
    expected = hmac.new(arguments.secret.encode(), fields.get("t", "").encode() + b"." + body, hashlib.sha256)
    is_fresh = abs(time.time() - int(fields.get("t", "0"))) < 300 and fields.get("t") == headers["X-Lumenbus-Timestamp"]
    return is_fresh and hmac.compare_digest(expected.hexdigest(), fields.get("v1", ""))


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        tell({"type": "stray", "path": self.path})
        self.send_error(404)

    def do_POST(self):
        global count
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = json.loads(body)
        with lock:
            answer = answers[min(count, len(answers) - 1)]
            count += 1
            tell({
                "type": "request", "path": self.path, "answer": answer, "id": self.headers["X-Lumenbus-Event-Id"],
                "same": event["id"] == self.headers["X-Lumenbus-Event-Id"], "test": event.get("test", False),
                "signed": is_signed(self.headers, body), "camera": event["camera"],
            })
        if answer == "hang":
            time.sleep(3600)
        elif answer == "head":
            self.send_response(200)
            self.send_header("X-Long", "x" * (1 << 20))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif answer == "body":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            while True:
                self.wfile.write(bytes(1 << 16))
        else:
            self.send_response(int(answer))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Who goes away in the middle is no news."""


server = Server(("127.0.0.1", arguments.port), Receiver)
if arguments.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*arguments.certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
tell({"type": "ready", "port": server.server_address[1]})
server.serve_forever()
