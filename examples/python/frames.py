import json, time, cv2, numpy as np
from kafka import KafkaConsumer

parts = {}
for msg in KafkaConsumer("raw_images", bootstrap_servers="127.0.0.1:9092"):
    headers = dict(msg.headers)
    frame, value = json.loads(headers["lb-json"]), msg.value
    chunk = frame.get("chunk")
    if chunk:  # a part of a picture larger than the record limit; the parts come in order
        stream = (msg.key, frame.get("stream"))
        if chunk["index"] == 0:
            parts[stream] = (frame, [])
        if stream not in parts or parts[stream][0]["seq"] != frame["seq"]:
            continue  # we came in the middle of it
        frame, values = parts[stream]
        values.append(value)
        if len(values) < frame["chunk"]["count"]:
            continue
        value = b"".join(parts.pop(stream)[1])
    picture = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR)
    age_ms = time.time() * 1000 - int(frame["capture_unix_nanos"]) / 1e6
    print(msg.key.decode(), frame["epoch"], frame["seq"], f"{age_ms:.0f} ms", picture.shape)
