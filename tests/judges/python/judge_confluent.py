"""Judge: what confluent-kafka sees of a broker, one JSON line a step. The broker's address is the only argument."""

import json
import sys
import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

BROKER = {"bootstrap.servers": sys.argv[1]}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# Ends only what hangs.
PATIENCE = 120


def tell(step, seen):
    print(json.dumps({step: seen}), flush=True)


def word(future):
    """The protocol's name of the error that this ends with."""
    try:
        future.result(PATIENCE)
        return "none"
    except KafkaException as error:
        return error.args[0].name()


def of_one(futures):
    return next(iter(futures.values()))


def settled(look, wanted):
    """Again until it is so: a looker-on is told by no event."""
    end = time.monotonic() + PATIENCE
    while (seen := look()) != wanted:
        assert time.monotonic() < end, f"saw {seen} and waited for {wanted}"
        time.sleep(0.05)
    return seen


def consumer(group, **more):
    settings = {"auto.offset.reset": "earliest", "enable.auto.commit": False, "heartbeat.interval.ms": 300}
    more = {name.replace("_", "."): value for name, value in more.items()}
    return Consumer({**BROKER, **settings, "group.id": group, **more})


def take(reader, count):
    end = time.monotonic() + PATIENCE
    messages = []
    while len(messages) < count:
        assert time.monotonic() < end, f"{len(messages)} of {count} messages came"
        messages += reader.consume(count - len(messages), timeout=0.5)
    for message in messages:
        assert message.error() is None, message.error()
    return messages


def topics(admin):
    create = lambda *topics, **more: {name: word(future) for name, future in admin.create_topics(list(topics), **more).items()}
    tell("create", create(NewTopic("cf-topics", 1), NewTopic("cf-group", 4), NewTopic("cf-transactions", 1)))
    tell("create again", create(NewTopic("cf-topics", 1)))
    tell("create a wrong name", create(NewTopic("cf topics", 1)))
    tell("create three replicas", create(NewTopic("cf-three", 1, 3)))
    tell("only try", create(NewTopic("cf-tried", 1), validate_only=True))
    for count in [3, 2]:
        tell(f"{count} partitions", word(of_one(admin.create_partitions([NewPartitions("cf-topics", count)]))))
    count = lambda: len(admin.list_topics(timeout=PATIENCE).topics["cf-topics"].partitions)
    tell("partitions", settled(count, 3))
    cluster = admin.describe_cluster().result(PATIENCE)
    tell("cluster", [len(cluster.nodes), cluster.controller.id == cluster.nodes[0].id])


def settings(admin):
    def seen():
        found = of_one(admin.describe_configs([ConfigResource(ResourceType.TOPIC, "cf-topics")])).result(PATIENCE)
        # The order of the policies counts for nothing.
        policies = sorted(found["cleanup.policy"].value.split(","))
        return [",".join(policies), found["retention.ms"].value]

    def change(*entries):
        entries = [ConfigEntry(name, value, incremental_operation=kind) for name, kind, value in entries]
        resource = ConfigResource(ResourceType.TOPIC, "cf-topics", incremental_configs=entries)
        return word(of_one(admin.incremental_alter_configs([resource])))

    operation = AlterConfigOpType
    tell("alter", change(("cleanup.policy", operation.APPEND, "compact"), ("retention.ms", operation.SET, "86400000")))
    tell("altered", settled(seen, ["compact,delete", "86400000"]))
    back = ("cleanup.policy", operation.SUBTRACT, "compact"), ("retention.ms", operation.DELETE, None)
    tell("alter back", change(*back))
    tell("altered back", settled(seen, ["delete", "604800000"]))
    tell("alter to nonsense", change(("retention.ms", operation.SET, "long")))


def codecs(admin):
    begin = int(time.time() * 1000) - 3_600_000
    for number, codec in enumerate(CODECS):
        producer = Producer({**BROKER, "compression.codec": codec, "linger.ms": 20, "enable.idempotence": True})
        sent = []
        failures = []
        keep = lambda error, message: failures.append(str(error)) if error else sent.append(message.offset())
        for index in range(10):
            producer.produce(
                "cf-topics",
                f"frame {index} ".encode() * 50,
                key=codec,
                partition=0,
                timestamp=begin + (number * 10 + index) * 1000,
                headers=[("codec", codec), ("empty", b""), ("none", None)],
                on_delivery=keep,
            )
        assert producer.flush(PATIENCE) == 0 and not failures, failures
        tell(f"produce with {codec}", [sent[0], sent[-1]])
    reader = consumer("cf-reader")
    reader.assign([TopicPartition("cf-topics", 0, 0)])
    intact = {}
    for index, message in enumerate(take(reader, 50)):
        codec = message.key().decode()
        whole = message.value() == f"frame {index % 10} ".encode() * 50 and message.offset() == index
        if whole and message.headers() == [("codec", message.key()), ("empty", b""), ("none", None)]:
            intact[codec] = intact.get(codec, 0) + 1
    tell("consume", intact)
    for seconds in [-1, 4, 49, 50]:
        place = TopicPartition("cf-topics", 0, begin + seconds * 1000)
        tell(f"offset at {seconds} s", reader.offsets_for_times([place], PATIENCE)[0].offset)
    tell("begin and end", reader.get_watermark_offsets(TopicPartition("cf-topics", 0), PATIENCE))
    place = TopicPartition("cf-topics", 0)
    for name, spec in [("latest time", OffsetSpec.max_timestamp()), ("at 7 s", OffsetSpec.for_timestamp(begin + 7000))]:
        found = of_one(admin.list_offsets({place: spec})).result(PATIENCE)
        tell(name, [found.offset, found.timestamp - begin])
    for before in [30, 99]:
        cut = of_one(admin.delete_records([TopicPartition("cf-topics", 0, before)]))
        tell(f"delete before {before}", [word(cut), cut.exception() is None and cut.result().low_watermark])
    tell("begin and end left", reader.get_watermark_offsets(TopicPartition("cf-topics", 0), PATIENCE))
    reader.close()


def groups(admin):
    def described():
        group = of_one(admin.describe_consumer_groups(["cf-group"])).result(PATIENCE)
        counts = sorted(len(member.assignment.topic_partitions) for member in group.members)
        return [group.state.name, group.partition_assignor, counts]

    def polled(members):
        """Members take part in what changes only while they are polled."""
        for member in members:
            member.poll(0.05)
        return sorted(len(member.assignment()) for member in members)

    sticky = {"partition_assignment_strategy": "cooperative-sticky"}
    members = [consumer("cf-group", group_instance_id="camera", **sticky)]
    members[0].subscribe(["cf-group"])
    settled(lambda: polled(members), [4])
    tell("one member", settled(described, ["STABLE", "cooperative-sticky", [4]]))
    members.append(consumer("cf-group", **sticky))
    members[1].subscribe(["cf-group"])
    settled(lambda: polled(members), [2, 2])
    tell("two members", settled(described, ["STABLE", "cooperative-sticky", [2, 2]]))
    tell("delete a living group", word(of_one(admin.delete_consumer_groups(["cf-group"]))))
    members.pop().close()
    settled(lambda: polled(members), [4])
    members[0].commit(offsets=[TopicPartition("cf-group", 1, 0, metadata="noted")], asynchronous=False)
    members.pop().close()
    tell("the static member is kept", described())
    asked = [ConsumerGroupTopicPartitions("cf-group")]
    for place in of_one(admin.list_consumer_group_offsets(asked)).result(PATIENCE).topic_partitions:
        tell("committed", [place.partition, place.offset, place.metadata])
    listed = admin.list_consumer_groups().result(PATIENCE).valid
    tell("list groups", [group.state.name for group in listed if group.group_id == "cf-group"])
    altered = ConsumerGroupTopicPartitions("cf-idle", [TopicPartition("cf-group", 2, 0)])
    tell("set offsets", word(of_one(admin.alter_consumer_group_offsets([altered]))))
    tell("delete", word(of_one(admin.delete_consumer_groups(["cf-idle"]))))


def transactions(admin):
    producer = Producer({**BROKER, "transactional.id": "cf-transactions"})
    producer.init_transactions(PATIENCE)
    reader = consumer("cf-offsets")
    place = TopicPartition("cf-transactions", 0)

    def end_at(level):
        found = of_one(admin.list_offsets({place: OffsetSpec.latest()}, isolation_level=level)).result(PATIENCE)
        return found.offset

    for index, end in enumerate(["commit", "abort", "commit"]):
        producer.begin_transaction()
        for part in range(2):
            producer.produce("cf-transactions", f"{index}.{part}")
        assert producer.flush(PATIENCE) == 0
        offsets = [TopicPartition("cf-transactions", 0, index)]
        producer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), PATIENCE)
        if index == 2:
            tell("ends", [end_at(IsolationLevel.READ_UNCOMMITTED), end_at(IsolationLevel.READ_COMMITTED)])
        getattr(producer, f"{end}_transaction")(PATIENCE)
    tell("committed offset", settled(lambda: reader.committed([place], PATIENCE)[0].offset, 2))
    fence(producer)
    reader.close()
    for level, count in [("read_committed", 5), ("read_uncommitted", 7)]:
        reader = consumer(f"cf-{level}", isolation_level=level)
        reader.subscribe(["cf-transactions"])
        tell(level, [f"{message.offset()} {message.value().decode()}" for message in take(reader, count)])
        reader.close()


def fence(first):
    """Another with the same id takes over."""
    second = Producer({**BROKER, "transactional.id": "cf-transactions"})
    second.init_transactions(PATIENCE)
    second.begin_transaction()
    second.produce("cf-transactions", "second")
    second.commit_transaction(PATIENCE)
    try:
        first.begin_transaction()
        first.produce("cf-transactions", "late")
        first.commit_transaction(PATIENCE)
        tell("fenced", False)
    except KafkaException as error:
        tell("fenced", error.args[0].fatal() and error.args[0].code() == KafkaError._FENCED)


def main():
    admin = AdminClient(BROKER)
    topics(admin)
    settings(admin)
    codecs(admin)
    groups(admin)
    transactions(admin)
    names = ["cf-topics", "cf-group", "cf-transactions", "cf-nothing"]
    tell("delete topics", {name: word(future) for name, future in admin.delete_topics(names).items()})


main()
