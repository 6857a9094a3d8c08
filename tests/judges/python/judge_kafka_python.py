"""Judge: what kafka-python sees of a broker, one JSON line a step. The broker's address is the only argument."""

import json
import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, KafkaAdminClient, OffsetSpec, OffsetTimestamp
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

BROKER = sys.argv[1]
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
# Ends only what hangs.
PATIENCE = 120


def tell(step, seen):
    print(json.dumps({step: seen}), flush=True)


def word(action):
    """The class of the error that this ends with."""
    try:
        action()
        return "none"
    except KafkaError as error:
        return type(error).__name__


def settled(look, wanted):
    """Again until it is so: a looker-on is told by no event."""
    end = time.monotonic() + PATIENCE
    while (seen := look()) != wanted:
        assert time.monotonic() < end, f"saw {seen} and waited for {wanted}"
        time.sleep(0.05)
    return seen


def consumer(*topics, **more):
    settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 300, **more}
    return KafkaConsumer(*topics, bootstrap_servers=BROKER, **settings)


def take(reader, count):
    end = time.monotonic() + PATIENCE
    records = []
    while len(records) < count:
        assert time.monotonic() < end, f"{len(records)} of {count} records came"
        for some in reader.poll(timeout_ms=500, max_records=count - len(records)).values():
            records += some
    return records


def topics(admin):
    plain = {"num_partitions": 2, "replication_factor": 1}
    answer = admin.create_topics({"kp-topics": plain, "kp-group": plain, "kp-transactions": {**plain, "num_partitions": 1}})
    tell("create", sorted([topic["name"], topic["error_code"], topic["num_partitions"]] for topic in answer["topics"]))
    tell("create again", word(lambda: admin.create_topics({"kp-topics": plain})))
    tell("create a wrong name", word(lambda: admin.create_topics({"kp topics": plain})))
    three = {"kp-three": {**plain, "replication_factor": 3}}
    tell("create three replicas", word(lambda: admin.create_topics(three)))
    tell("only try", word(lambda: admin.create_topics({"kp-tried": plain}, validate_only=True)))
    tell("fewer partitions", word(lambda: admin.create_partitions({"kp-topics": 1})))
    tell("three partitions", word(lambda: admin.create_partitions({"kp-topics": 3})))
    count = lambda: len(admin.describe_topics(["kp-topics"])[0]["partitions"])
    tell("partitions", settled(count, 3))
    tell("list", sorted(name for name in admin.list_topics() if name.startswith("kp-")))


def settings(admin):
    def value():
        asked = [ConfigResource("topic", "kp-topics", {"retention.ms": None})]
        found = admin.describe_configs(asked, config_filter="all")["topic"]["kp-topics"]["retention.ms"]
        return [found["value"], str(found["config_source"])]

    usual = value()
    tell("usual setting", usual[0])
    for step, operation in [("set", AlterConfigOp.SET), ("delete", AlterConfigOp.DELETE)]:
        change = ConfigResource("topic", "kp-topics", {"retention.ms": (operation, "86400000")})
        admin.alter_configs([change], incremental=True)
        settled(lambda: value()[0], "86400000" if step == "set" else usual[0])
        tell(f"{step} a setting", value()[0])


def codecs(admin):
    begin = int(time.time() * 1000) - 3_600_000
    for codec in CODECS:
        producer = KafkaProducer(bootstrap_servers=BROKER, compression_type=codec, linger_ms=20, enable_idempotence=True)
        name = str(codec).encode()
        sent = []
        for index in range(10):
            stamp = begin + len(sent) * 1000
            value = f"frame {index} ".encode() * 50
            headers = [("codec", name), ("empty", b"")]
            send = producer.send("kp-topics", value, key=name, headers=headers, partition=0, timestamp_ms=stamp)
            sent.append(send)
        offsets = [future.get(timeout=PATIENCE).offset for future in sent]
        producer.close()
        tell(f"produce with {codec}", [offsets[0], offsets[-1]])
    reader = consumer("kp-topics")
    intact = {}
    for index, record in enumerate(take(reader, 50)):
        key = record.key.decode()
        whole = record.value == f"frame {index % 10} ".encode() * 50 and record.offset == index
        if whole and record.headers == [("codec", record.key), ("empty", b"")]:
            intact[key] = intact.get(key, 0) + 1
    tell("consume", intact)
    place = TopicPartition("kp-topics", 0)
    for seconds in [-1, 4, 9, 10]:
        found = reader.offsets_for_times({place: begin + seconds * 1000})[place]
        tell(f"offset at {seconds} s", found and [found.offset, found.timestamp - begin])
    tell("begin and end", [reader.beginning_offsets([place])[place], reader.end_offsets([place])[place]])
    reader.close()
    named = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "latest time": OffsetSpec.MAX_TIMESTAMP}
    for name, spec in named.items():
        tell(name, admin.list_partition_offsets({place: spec})[place].offset)
    tell("delete records", admin.delete_records({place: 30})[place]["low_watermark"])
    tell("delete too many", word(lambda: admin.delete_records({place: 99})))
    tell("earliest left", admin.list_partition_offsets({place: OffsetSpec.EARLIEST})[place].offset)


def groups(admin):
    def described():
        group = admin.describe_groups(["kp-group"])["kp-group"]
        return [group["group_state"], group["protocol_data"], len(group["members"])]

    def polled(members):
        """Members take part only while they are polled, and give up a step that a poll is too short for."""
        for member in members:
            member.poll(timeout_ms=1000)
        return sorted(len(member.assignment()) for member in members)

    members = [consumer("kp-group", group_id="kp-group")]
    settled(lambda: polled(members), [2])
    tell("one member", described())
    members.append(consumer("kp-group", group_id="kp-group"))
    settled(lambda: polled(members), [1, 1])
    tell("two members", settled(described, ["Stable", "range", 2]))
    tell("delete a living group", admin.delete_groups(["kp-group"])["kp-group"])
    members.pop().close()
    settled(lambda: polled(members), [2])
    place = TopicPartition("kp-group", 1)
    members[0].commit({place: OffsetAndMetadata(0, "noted", -1)})
    members.pop().close()
    tell("nobody", settled(described, ["Empty", "", 0]))
    found = admin.list_group_offsets("kp-group")["kp-group"][place]
    tell("committed", [found.offset, found.metadata])
    static_member()
    tell("delete", admin.delete_groups(["kp-group"])["kp-group"])


def static_member():
    """A member with a name of its own gets its partitions again without a new generation."""
    seen = []
    for _ in range(2):
        member = consumer("kp-group", group_id="kp-static", group_instance_id="camera")
        end = time.monotonic() + PATIENCE
        while len(member.assignment()) < 2:
            assert time.monotonic() < end, "no assignment comes"
            member.poll(timeout_ms=1000)
        seen.append(member.group_metadata().generation_id)
        member.close()
    tell("generations of a static member", seen)


def transactions(admin):
    producer = KafkaProducer(bootstrap_servers=BROKER, transactional_id="kp-transactions")
    producer.init_transactions()
    place = TopicPartition("kp-transactions", 0)
    for index, end in enumerate(["commit", "abort", "commit"]):
        producer.begin_transaction()
        for part in range(2):
            producer.send("kp-transactions", f"{index}.{part}".encode()).get(timeout=PATIENCE)
        producer.send_offsets_to_transaction({place: OffsetAndMetadata(index, "", -1)}, "kp-offsets")
        if index == 2:
            tell("transaction", str(admin.describe_transactions(["kp-transactions"])["kp-transactions"].state))
        getattr(producer, f"{end}_transaction")()
    producer.close()
    committed = lambda: admin.list_group_offsets("kp-offsets")["kp-offsets"][place].offset
    tell("committed offset", settled(committed, 2))
    for level, count in [("read_committed", 4), ("read_uncommitted", 6)]:
        reader = consumer("kp-transactions", isolation_level=level)
        tell(level, [f"{record.offset} {record.value.decode()}" for record in take(reader, count)])
        reader.close()


def main():
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    topics(admin)
    settings(admin)
    codecs(admin)
    groups(admin)
    transactions(admin)
    names = ["kp-topics", "kp-group", "kp-transactions"]
    tell("delete topics", word(lambda: admin.delete_topics(names)))
    tell("delete nothing", word(lambda: admin.delete_topics(["kp-nothing"])))
    admin.close()


main()
