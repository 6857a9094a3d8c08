"""An RTSP camera for tests: GStreamer's server, fed with the access units of a file, again and again.

    /usr/bin/python3 server.py FILE [--codec h264|h265|jpeg] [--fps N] [--port N] [--user NAME --password SECRET]

FILE is a byte stream (.h264, .h265); with --codec jpeg a test picture is served and FILE may be `-`.
Prints the port when it listens; the path is /cam.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402

PAYLOADERS = {"h264": "rtph264pay", "h265": "rtph265pay"}


def access_units(path, codec):
    """The units of a byte stream, as they are in it."""
    pipeline = Gst.parse_launch(
        f"filesrc name=file ! {codec}parse ! video/x-{codec},stream-format=byte-stream,alignment=au"
        " ! appsink name=units sync=false"
    )
    pipeline.get_by_name("file").set_property("location", path)
    units = pipeline.get_by_name("units")
    pipeline.set_state(Gst.State.PLAYING)
    found = []
    while sample := units.emit("pull-sample"):
        caps, buffer = sample.get_caps(), sample.get_buffer()
        found.append(buffer.extract_dup(0, buffer.get_size()))
    pipeline.set_state(Gst.State.NULL)
    return caps, found


class Camera(GstRtspServer.RTSPMediaFactory):
    """Gives the units of a file in an endless row, in real time."""

    def __init__(self, path, codec, fps):
        super().__init__()
        self.caps, self.units = access_units(path, codec)
        self.interval = Gst.SECOND // fps
        self.set_launch(
            f"( appsrc name=units is-live=true format=time max-buffers=4 max-bytes=0"
            f" ! {PAYLOADERS[codec]} name=pay0 pt=96 config-interval=-1 )"
        )
        self.connect("media-configure", self.configure)

    def configure(self, _factory, media):
        source = media.get_element().get_child_by_name("units")
        source.set_property("caps", self.caps)
        place = [0]

        def push(_source, _length):
            buffer = Gst.Buffer.new_wrapped(self.units[place[0] % len(self.units)])
            buffer.pts = buffer.dts = place[0] * self.interval
            buffer.duration = self.interval
            place[0] += 1
            source.emit("push-buffer", buffer)

        source.connect("need-data", push)


def pictures(fps):
    """A test picture as JPEG."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate={fps}/1"
        " ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
    )
    return factory


def guard(server, factory, user, password):
    """Digest authentication for everything."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    factory.add_role_from_structure(
        Gst.Structure.new_from_string(
            "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
        )
    )
    server.set_auth(auth)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("file")
    options.add_argument("--codec", default="h264", choices=["h264", "h265", "jpeg"])
    options.add_argument("--fps", type=int, default=25)
    options.add_argument("--port", default="0")
    options.add_argument("--user")
    options.add_argument("--password")
    given = options.parse_args()
    Gst.init(None)
    factory = pictures(given.fps) if given.codec == "jpeg" else Camera(given.file, given.codec, given.fps)
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    if given.user:
        guard(server, factory, given.user, given.password)
    server.get_mount_points().add_factory("/cam", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {given.port} cannot be listened on")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
