"""Two devices of ONVIF and a printer, announced by the package WSDiscovery, and their services over HTTP.

Usage: onvif_cameras.py ADDRESS PASSWORD. Prints `ready PORT` once they can be asked. Only the user `viewer` gets to know
streams; the devices' clock is an hour ahead, and what was made by another one is refused.
"""

import base64
import hashlib
import sys
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from wsdiscovery import QName, Scope
from wsdiscovery.publishing import ThreadedWSPublishing

ADDRESS, PASSWORD = sys.argv[1:3]
AHEAD = timedelta(hours=1)
WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
WSU = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"
ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error">'
    "<s:Body>{}</s:Body></s:Envelope>"
)
REFUSAL = (
    "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code>"
    "<s:Reason><s:Text>no</s:Text></s:Reason></s:Fault>"
)


def is_allowed(message):
    token = message.find(f".//{WSSE}UsernameToken")
    if token is None or token.findtext(f"{WSSE}Username") != "viewer":
        return False
    created = token.findtext(f"{WSU}Created")
    age = datetime.now(timezone.utc) + AHEAD - datetime.fromisoformat(created)
    nonce = base64.b64decode(token.findtext(f"{WSSE}Nonce"))
    digest = hashlib.sha1(nonce + created.encode() + PASSWORD.encode()).digest()
    given = base64.b64decode(token.findtext(f"{WSSE}Password"))
    return abs(age) < timedelta(minutes=10) and given == digest


def profile(token, width, height):
    size = f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>"
    encoder = f"<tt:VideoEncoderConfiguration><tt:Encoding>H264</tt:Encoding>{size}</tt:VideoEncoderConfiguration>"
    return f'<trt:Profiles token="{token}"><tt:Name>{token}</tt:Name>{encoder}</trt:Profiles>'


def date_and_time():
    now = datetime.now(timezone.utc) + AHEAD
    time = f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second>"
    date = f"<tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day>"
    utc = f"<tt:UTCDateTime><tt:Time>{time}</tt:Time><tt:Date>{date}</tt:Date></tt:UTCDateTime>"
    return f"<tds:GetSystemDateAndTimeResponse>{utc}</tds:GetSystemDateAndTimeResponse>"


def answer(message):
    request = message.find("{http://www.w3.org/2003/05/soap-envelope}Body")[0]
    name = request.tag.rsplit("}", 1)[-1]
    if name == "GetSystemDateAndTime":
        return date_and_time()
    if not is_allowed(message):
        return REFUSAL
    if name == "GetDeviceInformation":
        facts = "<tds:Manufacturer>Acme</tds:Manufacturer><tds:Model>One</tds:Model>"
        return f"<tds:GetDeviceInformationResponse>{facts}</tds:GetDeviceInformationResponse>"
    if name == "GetCapabilities":
        # A host that is not there: cameras behind a router name such ones.
        media = "<tt:Media><tt:XAddr>http://192.0.2.1:{}/onvif/media</tt:XAddr></tt:Media>".format(server.server_port)
        return f"<tds:GetCapabilitiesResponse><tds:Capabilities>{media}</tds:Capabilities></tds:GetCapabilitiesResponse>"
    if name == "GetProfiles":
        return f"<trt:GetProfilesResponse>{profile('small', 640, 360)}{profile('large', 1920, 1080)}</trt:GetProfilesResponse>"
    token = request.findtext("{http://www.onvif.org/ver10/media/wsdl}ProfileToken")
    uri = f"<trt:MediaUri><tt:Uri>rtsp://{ADDRESS}:554/live?a=1&amp;profile={token}</tt:Uri></trt:MediaUri>"
    return f"<trt:GetStreamUriResponse>{uri}</trt:GetStreamUriResponse>"


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        message = ElementTree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
        body = answer(message)
        text = ENVELOPE.format(body).encode()
        self.send_response(400 if body is REFUSAL else 200)
        self.send_header("Content-Type", "application/soap+xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


def announce(kind, name, path):
    publisher = ThreadedWSPublishing()
    publisher.start()
    scopes = [Scope("onvif://www.onvif.org/location/yard")] if kind.getLocalname() != "Printer" else []
    scopes += [Scope(f"onvif://www.onvif.org/name/{name}")] if name else []
    publisher.publishService([kind], scopes, [f"http://{ADDRESS}:{server.server_port}{path}"])
    return publisher


server = ThreadingHTTPServer((ADDRESS, 0), Service)
Thread(target=server.serve_forever, daemon=True).start()
camera = QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter", "dn")
device = QName("http://www.onvif.org/ver10/device/wsdl", "Device", "tds")
printer = QName("urn:printers", "Printer", "p")
publishers = [
    announce(camera, "Gate Cam", "/onvif/device_service"),
    announce(device, "Yard", "/onvif/device_service"),
    announce(printer, "", "/print"),
]
print(f"ready {server.server_port}", flush=True)
Event().wait()
