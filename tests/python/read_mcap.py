"""Tells what is in an MCAP file, read by the libraries of Foxglove: one JSON object, a key per channel's topic.

Messages are decoded by the schema that is embedded in the file, and by the published schema of the same name; a channel is
"as_published" where both say the same.
"""

import importlib
import json
import sys

from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory


def published(name):
    """The message class that Foxglove ships."""
    message = name.rsplit(".", 1)[1]
    return getattr(importlib.import_module(f"foxglove_schemas_protobuf.{message}_pb2"), message)


def main(path):
    found = {}
    with open(path, "rb") as file:
        for schema, channel, message, decoded in make_reader(
            file, validate_crcs=True, decoder_factories=[DecoderFactory()]
        ).iter_decoded_messages(log_time_order=False):
            entry = found.setdefault(
                channel.topic, {"schema": schema.name, "as_published": True, "messages": []}
            )
            theirs = published(schema.name).FromString(message.data)
            entry["as_published"] &= (
                theirs.data == decoded.data
                and theirs.format == decoded.format
                and theirs.frame_id == decoded.frame_id
                and theirs.timestamp.ToNanoseconds()
                == decoded.timestamp.seconds * 10**9 + decoded.timestamp.nanos
            )
            entry["messages"].append(
                {
                    "log_time": message.log_time,
                    "timestamp": theirs.timestamp.ToNanoseconds(),
                    "frame_id": theirs.frame_id,
                    "format": theirs.format,
                    "bytes": len(theirs.data),
                }
            )
    print(json.dumps(found))


main(sys.argv[1])
