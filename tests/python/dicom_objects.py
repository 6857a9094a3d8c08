"""Prints the SHA-256 of every object in the topics, made again by the code that the reference shows.

python dicom_objects.py BROKERS PREFIX docs/reference/dicom-records.md
"""

import hashlib
import re
import sys

from confluent_kafka import Consumer, TopicPartition

brokers, prefix, reference = sys.argv[1:]
with open(reference, encoding="utf-8") as file:
    code = re.search(r"```python\n(.*?)```", file.read(), re.DOTALL).group(1)
shown = {}
exec(compile(code, reference, "exec"), shown)


def consumer():
    return Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "stranger",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )


metadata, pixels = consumer(), consumer()


def next_record(reader):
    for _ in range(300):
        record = reader.poll(0.2)
        if record is not None:
            assert record.error() is None, record.error()
            return record
    raise TimeoutError("no record comes")


following = None


def read(partition, offset):
    global following
    # Every jump throws away what was fetched ahead.
    if following != (partition, offset):
        pixels.assign([TopicPartition(prefix + "dicom_pixels", partition, offset)])
    following = (partition, offset + 1)
    while True:
        record = next_record(pixels)
        # One that was fetched before the jump is not meant.
        if (record.partition(), record.offset()) == (partition, offset):
            return record.value()


topic = prefix + "dicom_metadata"
for partition in metadata.list_topics(topic).topics[topic].partitions:
    place = TopicPartition(topic, partition)
    start, end = metadata.get_watermark_offsets(place)
    if start < end:
        metadata.assign([TopicPartition(topic, partition, start)])
    while start < end:
        record = next_record(metadata)
        start = record.offset() + 1
        print(hashlib.sha256(shown["read_object"](record, read)).hexdigest())
