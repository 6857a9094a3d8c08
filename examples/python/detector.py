import json, uuid, cv2, numpy as np
from confluent_kafka import Consumer, Producer

brokers = {"bootstrap.servers": "127.0.0.1:9092"}
consumer, producer = Consumer({**brokers, "group.id": f"detector-{uuid.uuid4()}"}), Producer({**brokers, "linger.ms": 5})
partitions = len(producer.list_topics("analysis_results").topics["analysis_results"].partitions)
consumer.subscribe(["raw_images"])
while True:
    msg = consumer.poll(1.0)
    if not msg or msg.error() or not dict(msg.headers())["content-type"].startswith(b"image/"):
        continue
    frame = json.loads(dict(msg.headers())["lb-json"])
    picture = cv2.imdecode(np.frombuffer(msg.value(), np.uint8), cv2.IMREAD_COLOR)
    # The detector: what is bright. Boxes are in pixels of the picture.
    _, bright = cv2.threshold(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), 200, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(contour) for contour in contours if cv2.contourArea(contour) >= 64][:1000]
    result = {"version": 1, "camera": msg.key().decode(), "topic": msg.topic(), "stream": frame.get("stream") or "main",
              "epoch": frame["epoch"], "seq": frame["seq"], "capture_unix_nanos": frame["capture_unix_nanos"],
              "width": picture.shape[1], "height": picture.shape[0], "model": {"name": "bright", "version": "1"},
              "detections": [{"class": "bright", "score": 1.0, "bounds": dict(zip(("x", "y", "width", "height"), box))}
                             for box in boxes]}
    producer.produce("analysis_results", json.dumps(result), msg.key(), msg.partition() % partitions,
                     headers={"content-type": "application/json"})
    producer.poll(0)
    print(msg.key().decode(), frame["seq"], len(boxes))
