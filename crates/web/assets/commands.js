// The same pictures without this page: commands that work as they stand, made of the stream's own facts.

const shell = (word) => (/^[A-Za-z0-9_./:@,=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
const python = (word) => JSON.stringify(word);

const isLoopback = () => ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);

/** `host:port` of the brokers, from the health overview. */
export function brokersOf(health) {
  const list = Array.isArray(health?.brokers) ? health.brokers : [];
  const known = list.filter((broker) => typeof broker?.host === 'string' && Number.isInteger(broker.port)).slice(0, 3);
  return known.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',') || '127.0.0.1:9092';
}

function curl(facts) {
  const address = new URL(`/api/v1/cameras/${encodeURIComponent(facts.camera)}/snapshot?stream=${facts.n}`, location.origin);
  const token = isLoopback() ? '' : ' -H "Authorization: Bearer $LUMENBUS_TOKEN"';
  const insecure = location.protocol === 'https:' ? ' --insecure' : '';
  return `curl --fail${insecure}${token} -o ${shell(`${facts.camera}.jpg`)} ${shell(address.href)}`;
}

function kcat(facts, brokers) {
  const partition = facts.partition === null ? '' : ` -p ${facts.partition}`;
  return `kcat -C -b ${shell(brokers)} -t ${shell(facts.topic)}${partition} -o end -u -f '%k  offset %o  %S bytes\\n'`;
}

function consumer(facts, brokers) {
  const where = facts.partition === null
    ? [`partitions = consumer.list_topics(${python(facts.topic)}).topics[${python(facts.topic)}].partitions`,
       `consumer.assign([TopicPartition(${python(facts.topic)}, p, OFFSET_END) for p in partitions])`]
    : [`consumer.assign([TopicPartition(${python(facts.topic)}, ${facts.partition}, OFFSET_END)])`];
  return [
    `consumer = Consumer({"bootstrap.servers": ${python(brokers)}, "group.id": "unused"})`,
    ...where,
    'while True:',
    '    message = consumer.poll(1.0)',
    `    if message is None or message.error() or message.key() != ${python(facts.camera)}.encode():`,
    '        continue',
    '    kind = dict(message.headers()).get("content-type", b"")',
  ];
}

function pythonPictures(facts, brokers) {
  return [
    '# pip install confluent-kafka opencv-python-headless',
    'import cv2, numpy as np',
    'from confluent_kafka import Consumer, OFFSET_END, TopicPartition',
    '',
    ...consumer(facts, brokers),
    '    if kind.startswith(b"image/"):',
    '        picture = cv2.imdecode(np.frombuffer(message.value(), np.uint8), cv2.IMREAD_COLOR)',
    '        print(picture.shape, flush=True)',
  ].join('\n');
}

function pythonVideo(facts, brokers) {
  const name = { h265: 'hevc' }[facts.codec] ?? facts.codec;
  return [
    '# pip install confluent-kafka av',
    'import av',
    'from confluent_kafka import Consumer, OFFSET_END, TopicPartition',
    '',
    `decoder = av.CodecContext.create(${python(name)}, "r")`,
    ...consumer(facts, brokers),
    '    if not kind.startswith(b"video/"):',
    '        continue',
    '    try:',
    '        for frame in decoder.decode(av.Packet(message.value())):',
    '            print(frame.to_ndarray(format="bgr24").shape, flush=True)',
    '    except av.error.InvalidDataError:',
    '        pass  # until the first keyframe',
  ].join('\n');
}

/** { python, curl, kcat } for a stream; what makes no sense for it is left out. */
export function commandsFor(facts, brokers) {
  const isPictures = ['jpeg', 'png', 'webp', 'jpeg2000'].includes(facts.codec);
  const isVideo = ['h264', 'h265', 'av1'].includes(facts.codec);
  const commands = {};
  if (!facts.isSealed && isPictures) commands.python = pythonPictures(facts, brokers);
  if (!facts.isSealed && isVideo) commands.python = pythonVideo(facts, brokers);
  commands.curl = curl(facts);
  commands.kcat = kcat(facts, brokers);
  return commands;
}
