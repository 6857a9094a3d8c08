// Judge: what kafkajs sees of a broker, one JSON line a step. The broker's address is the only argument.
import kafkajs from 'kafkajs';

const { Kafka, CompressionTypes, logLevel } = kafkajs;
const kafka = new Kafka({
  clientId: 'judge',
  brokers: [process.argv[2]],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, retries: 12 },
});
const admin = kafka.admin();

function tell(step, seen) {
  console.log(JSON.stringify({ [step]: seen }));
}

// The protocol's name of the error that this ends with.
async function word(action) {
  try {
    await action;
    return 'NONE';
  } catch (error) {
    const causes = error.errors ?? error.groups ?? error.partitions;
    const cause = causes?.[0].error ?? causes?.[0] ?? error;
    return cause.type ?? `${error}`;
  }
}

// Again until it is so: a looker-on is told by no event.
async function settled(look, isSo) {
  for (;;) {
    const seen = await look().catch(() => undefined);
    if (seen !== undefined && isSo(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function topics() {
  const topic = (name, numPartitions, more) => ({ topic: name, numPartitions, replicationFactor: 1, ...more });
  const create = (...list) => admin.createTopics({ topics: list, waitForLeaders: false });
  tell('create', await create(topic('js-topics', 1), topic('js-group', 2), topic('js-transactions', 1)));
  tell('create again', await create(topic('js-topics', 1)));
  tell('create a wrong name', await word(create(topic('js topics', 1))));
  tell('create three replicas', await word(create(topic('js-three', 1, { replicationFactor: 3 }))));
  tell('only try', await admin.createTopics({ topics: [topic('js-tried', 1)], validateOnly: true, waitForLeaders: false }));
  await admin.createPartitions({ topicPartitions: [{ topic: 'js-topics', count: 3 }] });
  const described = await settled(
    () => admin.fetchTopicMetadata({ topics: ['js-topics'] }),
    (seen) => seen.topics[0].partitions.length === 3,
  );
  tell('partitions', described.topics[0].partitions.map((each) => each.partitionErrorCode));
  tell('fewer', await word(admin.createPartitions({ topicPartitions: [{ topic: 'js-topics', count: 2 }] })));
  const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: 'js-topics' };
  const settings = (value) => [{ ...resource, configEntries: [{ name: 'retention.ms', value }] }];
  const altered = await admin.alterConfigs({ resources: settings('86400000') });
  tell('alter', altered.resources[0].errorCode);
  const seen = await settled(
    () => admin.describeConfigs({ resources: [{ ...resource, configNames: ['retention.ms'] }] }),
    (answer) => answer.resources[0].configEntries[0].configValue === '86400000',
  );
  const entry = seen.resources[0].configEntries[0];
  tell('setting', [entry.configName, entry.configSource, entry.readOnly, entry.isSensitive]);
  tell('alter to nonsense', await word(admin.alterConfigs({ resources: settings('long') })));
  const listed = await admin.listTopics();
  tell('list', listed.filter((name) => name.startsWith('js-')).sort());
  const cluster = await admin.describeCluster();
  tell('cluster', [cluster.brokers.length, cluster.controller === cluster.brokers[0].nodeId]);
}

const byPartition = (seen) => seen.sort((a, b) => a.partition - b.partition);
const offsets = async (topic) => byPartition(await admin.fetchTopicOffsets(topic)).map((each) => [each.low, each.high]);

async function records() {
  const begin = Date.now() - 3_600_000;
  const producer = kafka.producer({ idempotent: true, createPartitioner: () => ({ message }) => Number(message.key) });
  await producer.connect();
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const messages = [...Array(12).keys()].map((index) => ({
      key: `${index % 3}`,
      value: `frame ${index} `.repeat(50),
      timestamp: `${begin + index * 1000}`,
      headers: { codec: `${compression}`, list: ['a', 'b'] },
    }));
    const sent = await producer.send({ topic: 'js-topics', messages, compression, acks: -1 });
    const places = sent.map((each) => [each.partition, each.errorCode, each.baseOffset]);
    tell(`produce with codec ${compression}`, places.sort());
  }
  await producer.disconnect();
  tell('offsets', await offsets('js-topics'));
  const at = await admin.fetchTopicOffsetsByTimestamp('js-topics', begin + 5000);
  tell('offsets at 5 s', byPartition(at).map((each) => each.offset));
  const cut = [{ partition: 0, offset: '3' }, { partition: 2, offset: '-1' }];
  await admin.deleteTopicRecords({ topic: 'js-topics', partitions: cut });
  tell('offsets after deletion', await offsets('js-topics'));
  const beyond = [{ partition: 0, offset: '99' }];
  tell('delete beyond the end', await word(admin.deleteTopicRecords({ topic: 'js-topics', partitions: beyond })));
}

// Reads so many messages and commits what it read.
async function read(options, topic, count) {
  const consumer = kafka.consumer({ heartbeatInterval: 300, maxWaitTimeInMs: 500, ...options });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const seen = [];
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    const eachMessage = async ({ partition, message }) => {
      seen.push({ partition, ...message });
      if (seen.length === count) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  });
  await consumer.stop();
  await consumer.disconnect();
  return seen;
}

const committed = async (groupId, topics) => {
  const found = await admin.fetchOffsets({ groupId, topics });
  return byPartition(found[0].partitions).map((each) => each.offset);
};

async function reading() {
  const seen = await read({ groupId: 'js-reader' }, 'js-topics', 13);
  const intact = seen.filter(({ value, headers }) => {
    const [word, index] = value.toString().split(' ');
    const whole = value.toString() === `${word} ${index} `.repeat(50);
    return whole && headers.list.map(String).join() === 'a,b' && ['0', '1'].includes(headers.codec.toString());
  });
  tell('read', [seen.length, intact.length, seen.map((each) => `${each.partition}@${each.offset}`).sort()]);
  tell('committed', await committed('js-reader', ['js-topics']));
  const back = [{ partition: 0, offset: '5' }, { partition: 1, offset: '8' }];
  await admin.setOffsets({ groupId: 'js-reader', topic: 'js-topics', partitions: back });
  const more = await read({ groupId: 'js-reader' }, 'js-topics', 3);
  tell('read again', more.map((each) => `${each.partition}@${each.offset}`).sort());
  await admin.resetOffsets({ groupId: 'js-reader', topic: 'js-topics', earliest: true });
  tell('reset', await committed('js-reader', ['js-topics']));
}

async function groups() {
  const members = [];
  const look = () => admin.describeGroups(['js-group']);
  const has = (count) => ({ groups: [group] }) => {
    const assigned = group.members.map((each) => {
      const assignment = kafkajs.AssignerProtocol.MemberAssignment.decode(each.memberAssignment);
      return assignment?.assignment['js-group'].length;
    });
    return group.state === (count === 0 ? 'Empty' : 'Stable') && assigned.join() === Array(count).fill(2 / count).join();
  };
  const described = async (step, count) => {
    const { groups: [group] } = await settled(look, has(count));
    tell(step, [group.errorCode, group.state, group.protocolType, group.protocol, group.members.length]);
  };
  for (const step of ['one member', 'two members']) {
    const member = kafka.consumer({ groupId: 'js-group', heartbeatInterval: 300, maxWaitTimeInMs: 500 });
    await member.connect();
    await member.subscribe({ topics: ['js-group'], fromBeginning: true });
    await member.run({ eachMessage: async () => {} });
    members.push(member);
    await described(step, members.length);
  }
  tell('delete a living group', await word(admin.deleteGroups(['js-group'])));
  const listed = await admin.listGroups();
  tell('list groups', listed.groups.filter((group) => group.groupId === 'js-group'));
  await members[1].disconnect();
  await described('one has left', 1);
  await members[0].disconnect();
  await described('nobody', 0);
  tell('delete', (await admin.deleteGroups(['js-group'])).map((group) => group.errorCode));
}

async function transactions() {
  const producer = kafka.producer({ transactionalId: 'js-transactions', maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  const ends = ['commit', 'abort', 'commit'];
  for (const [index, end] of ends.entries()) {
    const transaction = await producer.transaction();
    for (const part of [0, 1]) {
      await transaction.send({ topic: 'js-transactions', messages: [{ value: `${index}.${part}` }] });
    }
    const place = { topic: 'js-topics', partitions: [{ partition: 0, offset: `${index + 5}` }] };
    await transaction.sendOffsets({ consumerGroupId: 'js-offsets', topics: [place] });
    await transaction[end]();
    // The outcome is written behind the answer.
    const wanted = index === 2 ? '7' : '5';
    await settled(() => committed('js-offsets', ['js-topics']), (seen) => seen[0] === wanted);
    tell(`${end} of offsets`, wanted);
  }
  await producer.disconnect();
  const words = (seen) => seen.map((each) => `${each.offset} ${each.value}`);
  tell('read committed', words(await read({ groupId: 'js-committed' }, 'js-transactions', 4)));
  const all = { groupId: 'js-uncommitted', readUncommitted: true };
  tell('read uncommitted', words(await read(all, 'js-transactions', 6)));
}

await admin.connect();
await topics();
await records();
await reading();
await groups();
await transactions();
await admin.deleteTopics({ topics: ['js-topics', 'js-group', 'js-transactions'] });
const left = await settled(() => admin.listTopics(), (seen) => !seen.some((name) => name.startsWith('js-')));
tell('deleted', left.filter((name) => name.startsWith('js-')));
await admin.disconnect();
