import uuid, cv2, numpy as np
from confluent_kafka import Consumer

# A group of its own sees every camera; two consumers with the same group.id would share them.
consumer = Consumer({"bootstrap.servers": "127.0.0.1:9092", "group.id": f"viewer-{uuid.uuid4()}"})
consumer.subscribe(["raw_images"])
while True:
    msg = consumer.poll(1.0)
    if msg and not msg.error() and dict(msg.headers())["content-type"].startswith(b"image/"):
        picture = cv2.imdecode(np.frombuffer(msg.value(), np.uint8), cv2.IMREAD_COLOR)
        print(msg.key().decode(), picture.shape)
